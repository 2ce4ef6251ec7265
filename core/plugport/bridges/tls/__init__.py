"""TLS for every strategy and every style of handlers.

The method tls_context() of a server with the trait ``secure`` returns the ssl.SSLContext for the next
connection. The server's requests are plain sockets: limits, hooks and timeouts work on those. The handler
gets an object above the plain socket, from a module that is imported only for such a server:

``layer``       protocols get TLSTransport (by ``protocols``), above the transport of any loop (``upper``)
``sockets``     blocking handlers get SecuredSocket, after the handshake
``eventloop``   an asyncio event loop has its own TLS

``failures`` has the errors of broken connections, the same for all styles. Certificates are the server's.
"""
