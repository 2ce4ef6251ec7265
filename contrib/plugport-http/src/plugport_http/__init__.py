"""HTTP/1.1 for plugport: a sans-IO engine, its drivers, and the handlers that use them."""
