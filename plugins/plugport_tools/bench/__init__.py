"""The benchmark of ``plugport bench``: a handler is served under each strategy, loaded, and measured."""
