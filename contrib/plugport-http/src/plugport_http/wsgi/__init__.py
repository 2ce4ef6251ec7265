"""The handler "wsgi": a WSGI application (PEP 3333) under every strategy."""
