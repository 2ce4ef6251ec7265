"""TLS for every strategy: each kind of handler's connections are secured in one place.

A server that sets ``secure = True`` answers tls_context() with the ssl.SSLContext for the next
connection. Its requests stay plain sockets: that is what limits, hooks and timeouts work on. What
the handler sees lies above, and the module that makes it is imported only for such a server:

``layer``       protocols get TLSTransport (``protocols``), above the transport of any loop (``upper``)
``sockets``     blocking handlers get SecuredSocket, after the handshake
``eventloop``   an asyncio event loop does its own

``failures`` has what a connection that breaks comes to, the same for all of them. Nothing here knows where
certificates come from.
"""
