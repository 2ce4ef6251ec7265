"""The peers: http_peers.py NAME HOST listens on a port of that host, and says so.

nginx         one process, which serves the folder site without an access log
http.server   the standard library's, threading, which keeps connections (HTTP/1.1)
uvicorn       hello.py by ASGI: httptools, uvloop, no access log
granian       hello.py by WSGI: one worker
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

SITE = Path(__file__).with_name("site")
_NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  types {{ text/plain txt; }}
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen {host}:{port}; root {site}; }}
}}
"""


def nginx(host: str) -> None:
    """Become nginx; a process of nobody's says so when it listens."""
    with socket.create_server((host, 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="plugport-nginx-"))
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, host=host, port=port, site=SITE))
    child = os.fork()
    if not child:
        if not os.fork():
            announce_when_it_listens(host, port)
            shutil.rmtree(folder)  # it has read its configuration, and needs none of the rest
        os._exit(0)
    os.waitpid(child, 0)
    try:
        os.execvp("nginx", ["nginx", "-c", str(configuration)])
    except FileNotFoundError:
        sys.exit("nginx is not installed; apt-get install nginx")


def announce_when_it_listens(host: str, port: int) -> None:
    """Try to connect, for a while."""
    for _ in range(500):
        try:
            socket.create_connection((host, port)).close()
        except OSError:
            time.sleep(0.01)
        else:
            announce(host, port)
            return


def http_server(host: str) -> None:
    """Serve as ``python -m http.server --protocol HTTP/1.1`` does; its log goes nowhere."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    SimpleHTTPRequestHandler.protocol_version = "HTTP/1.1"
    server = ThreadingHTTPServer((host, 0), partial(SimpleHTTPRequestHandler, directory=str(SITE)))
    announce(host, server.server_address[1])
    sys.stderr = open(os.devnull, "w")
    server.serve_forever()


def uvicorn(host: str) -> None:
    """Become uvicorn."""
    options = ["--no-access-log", "--log-level=warning", "--loop=uvloop", "--http=httptools"]
    become("uvicorn", host, [*options, f"--app-dir={SITE.parent}", "hello:asgi"])


def granian(host: str) -> None:
    """Become granian."""
    options = ["--interface=wsgi", "--workers=1", "--no-ws", "--no-access-log", "--log-level=warning"]
    become("granian", host, [*options, f"--working-dir={SITE.parent}", "hello:wsgi"])


def become(module: str, host: str, arguments: list[str]) -> None:
    """Become a server that is run as a module; a process of nobody's says so when it listens."""
    with socket.create_server((host, 0)) as free:
        port = free.getsockname()[1]
    if not os.fork():
        if not os.fork():
            announce_when_it_listens(host, port)
        os._exit(0)
    os.wait()
    os.execv(sys.executable, [sys.executable, "-m", module, f"--host={host}", f"--port={port}", *arguments])


def announce(host: str, port: int) -> None:
    """Say where it listens, as plugport does."""
    print(f"listening on http://{host}:{port}", file=sys.stderr, flush=True)


PEERS = {"nginx": nginx, "http.server": http_server, "uvicorn": uvicorn, "granian": granian}

if __name__ == "__main__":
    PEERS[sys.argv[1]](sys.argv[2])
