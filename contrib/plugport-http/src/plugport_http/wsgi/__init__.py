"""WSGI on the engine (PEP 3333): an application served by a blocking handler."""
