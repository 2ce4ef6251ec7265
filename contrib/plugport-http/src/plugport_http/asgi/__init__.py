"""ASGI 3 on the engine: requests, WebSockets and the lifespan of an application."""
