"""A client to try servers with: python ask.py PORT WORD ... sends the words, prints what comes back."""

import socket
import sys

port, *words = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as client:
    client.sendall(" ".join(words).encode() + b"\n")
    client.shutdown(socket.SHUT_WR)
    while data := client.recv(65536):
        sys.stdout.write(data.decode())
