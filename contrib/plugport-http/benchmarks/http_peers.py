"""The peers: http_peers.py NAME HOST listens on a port of that host, and reports it.

nginx         one process, serves the folder site, no access log
http.server   the standard library's, threading, persistent connections (HTTP/1.1)
uvicorn       hello.py as ASGI: httptools, uvloop, no access log
granian       hello.py as WSGI: one worker
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
    """Replace this process by nginx; an orphaned process reports when it listens."""
    with socket.create_server((host, 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="plugport-nginx-"))
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, host=host, port=port, site=SITE))
    child = os.fork()
    if not child:
        if not os.fork():
            announce_when_it_listens(host, port)
            shutil.rmtree(folder)  # nginx has read its configuration
        os._exit(0)
    os.waitpid(child, 0)
    try:
        os.execvp("nginx", ["nginx", "-c", str(configuration)])
    except FileNotFoundError:
        sys.exit("nginx is not installed; apt-get install nginx")


def announce_when_it_listens(host: str, port: int) -> None:
    """Try to connect for five seconds, then announce."""
    for _ in range(500):
        try:
            socket.create_connection((host, port)).close()
        except OSError:
            time.sleep(0.01)
        else:
            announce(host, port)
            return


def http_server(host: str) -> None:
    """Serve like ``python -m http.server --protocol HTTP/1.1``, without its log."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    SimpleHTTPRequestHandler.protocol_version = "HTTP/1.1"
    server = ThreadingHTTPServer((host, 0), partial(SimpleHTTPRequestHandler, directory=str(SITE)))
    announce(host, server.server_address[1])
    sys.stderr = open(os.devnull, "w")
    server.serve_forever()


def uvicorn(host: str) -> None:
    """Replace this process by uvicorn."""
    options = ["--no-access-log", "--log-level=warning", "--loop=uvloop", "--http=httptools"]
    become("uvicorn", host, [*options, f"--app-dir={SITE.parent}", "hello:asgi"])


def granian(host: str) -> None:
    """Replace this process by granian."""
    options = ["--interface=wsgi", "--workers=1", "--no-ws", "--no-access-log", "--log-level=warning"]
    become("granian", host, [*options, f"--working-dir={SITE.parent}", "hello:wsgi"])


def become(module: str, host: str, arguments: list[str]) -> None:
    """Replace this process by a server's module; an orphaned process reports when it listens."""
    with socket.create_server((host, 0)) as free:
        port = free.getsockname()[1]
    if not os.fork():
        if not os.fork():
            announce_when_it_listens(host, port)
        os._exit(0)
    os.wait()
    os.execv(sys.executable, [sys.executable, "-m", module, f"--host={host}", f"--port={port}", *arguments])


def announce(host: str, port: int) -> None:
    """Print the address like plugport."""
    print(f"listening on http://{host}:{port}", file=sys.stderr, flush=True)


PEERS = {"nginx": nginx, "http.server": http_server, "uvicorn": uvicorn, "granian": granian}

if __name__ == "__main__":
    PEERS[sys.argv[1]](sys.argv[2])
