"""Checks in a browser that no page of a built site is wider than a phone: ``check_width.py site``.

Needs chromium. A page is to scroll up and down only; a table or a block of code that is wider scrolls
in itself.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["too_wide"]

#: Of the phones that are in use most are as wide as this, in CSS pixels, or wider.
WIDTH = 390
#: Seconds that the browser may take for all pages.
PATIENCE = 120

#: Each page in a frame that is as wide as a phone; what is wider is told when all have been loaded.
_FRAME = '<iframe src="{page}" width="{width}" height="844" style="border:0"></iframe>'
_SCRIPT = """<pre id="result"></pre><script>
addEventListener("load", () => {
  const lines = [...document.querySelectorAll("iframe")].map(frame => {
    const root = frame.contentDocument.documentElement;
    return `${frame.getAttribute("src")} ${root.scrollWidth} ${root.clientWidth}`;
  });
  document.getElementById("result").textContent = lines.join("\\n");
});
</script>"""


class _Handler(SimpleHTTPRequestHandler):
    """Serves the site, and the page of frames besides."""

    frames = ""

    def do_GET(self) -> None:
        if self.path != "/_frames.html":
            super().do_GET()
            return
        body = self.frames.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def too_wide(root: Path, browser: str, width: int = WIDTH) -> tuple[list[str], int]:
    """Return the pages that are wider than *width*, each with its own, and how many were looked at.

    RuntimeError if the browser does not tell of all of them.
    """
    pages = [file.relative_to(root).as_posix() for file in sorted(root.rglob("index.html"))]
    frames = "".join(_FRAME.format(page=html.escape(page), width=width) for page in pages)
    handler = type("Handler", (_Handler,), {"frames": f"<!doctype html>{frames}{_SCRIPT}"})
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(root))) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            shown = _dump(browser, f"http://127.0.0.1:{server.server_port}/_frames.html", profile)
        finally:
            server.shutdown()
            thread.join()
    found = re.findall(r"^(\S+) (\d+) (\d+)$", html.unescape(shown), re.MULTILINE)
    if [page for page, _, _ in found] != pages:
        raise RuntimeError(f"{browser} has told of {len(found)} pages of {len(pages)}")
    return [f"{page}: {wide} pixels" for page, wide, room in found if int(wide) > int(room)], len(pages)


def _dump(browser: str, url: str, profile: str) -> str:
    """Return the document of *url* as it is when it has been loaded."""
    command = [browser, "--headless", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom", url]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # it refuses to run as root with one
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return re.sub(r'<pre id="result">', "\n", result.stdout).replace("</pre>", "\n")


if __name__ == "__main__":
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no chromium to look with (apt-get install chromium)")
    wide, count = too_wide(Path(sys.argv[1]).resolve(), chromium)
    print(*wide, sep="\n", end="\n" if wide else "")
    print(f"{len(wide)} of {count} pages wider than {WIDTH} pixels")
    sys.exit(bool(wide))
