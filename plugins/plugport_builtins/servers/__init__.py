"""The built-in servers: the class diagram of the standard library's socketserver."""
