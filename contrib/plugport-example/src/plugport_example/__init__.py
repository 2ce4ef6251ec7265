"""An example of a package for plugport: a handler, a server, a concurrency strategy and hooks."""
