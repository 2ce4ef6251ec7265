"""HTTP/1.1 for plugport: an engine that does no I/O, its drivers, and handlers on them."""
