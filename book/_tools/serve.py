"""Serve the built book on this machine: ``python book/_tools/serve.py``.

Texts travel compressed and connections stay open, as on GitHub Pages, so that what a browser measures here
(``make site-report``) says something about the published book.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import io
import sys
from pathlib import Path
from typing import Any, BinaryIO

from common import SITE, say, stop

COMPRESSIBLE = {".css", ".html", ".ipynb", ".js", ".json", ".map", ".svg", ".txt", ".xml"}


@functools.lru_cache(maxsize=512)
def compressed(file: Path, changed: int) -> bytes:
    """Return the content of a file, compressed; `changed` is its time, so that a new content counts."""
    return gzip.compress(file.read_bytes(), 6)


class Server(http.server.ThreadingHTTPServer):
    """A server that insists on a port of its own and ends with its threads."""

    allow_reuse_address = False
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about a browser that closes its connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files only, nothing kept by the browser (a rebuilt page is seen at once), no log."""

    protocol_version = "HTTP/1.1"

    def send_head(self) -> BinaryIO | None:
        """Answer with the compressed text if the browser takes it, else with the file as it is."""
        file = Path(self.translate_path(self.path))
        takes = "gzip" in self.headers.get("Accept-Encoding", "")
        if not (takes and file.suffix in COMPRESSIBLE and file.is_file()):
            return super().send_head()
        body = compressed(file, file.stat().st_mtime_ns)
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(file))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Vary", "Accept-Encoding")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return io.BytesIO(body)

    def end_headers(self) -> None:
        """Forbid caching."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each request."""


def free_server(port: int, folder: Path = SITE) -> Server:
    """Bind the given port, or the next free one, or any, and serve a folder there."""
    handler = functools.partial(Handler, directory=str(folder))
    for candidate in range(port, port + 20):
        try:
            return Server(("127.0.0.1", candidate), handler)
        except OSError:
            continue  # taken
    return Server(("127.0.0.1", 0), handler)


def main() -> None:
    """Read the command line and serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the built book on this machine.")
    parser.add_argument("--port", type=int, default=8000, help="where to start looking for a free port")
    arguments = parser.parse_args()
    if not (SITE / "index.html").exists():
        stop("The book is not built yet: make book")
    with free_server(arguments.port) as server:
        say(f"The book is at http://localhost:{server.server_port}/   (Ctrl-C ends)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")


if __name__ == "__main__":
    main()
