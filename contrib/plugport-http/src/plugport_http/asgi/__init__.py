"""The handler "asgi": HTTP requests, WebSockets and the lifespan of an ASGI 3 application."""
