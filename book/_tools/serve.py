"""Serve the built book on this machine: ``python book/_tools/serve.py``."""

from __future__ import annotations

import argparse
import functools
import http.server

from common import SITE, say, stop


class Server(http.server.ThreadingHTTPServer):
    """A server that insists on a port of its own and ends with its threads."""

    allow_reuse_address = False
    daemon_threads = True


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files only, nothing kept by the browser (a rebuilt page is seen at once), no log."""

    def end_headers(self) -> None:
        """Forbid caching."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each request."""


def free_server(port: int) -> Server:
    """Bind the given port, or the next free one, or any."""
    handler = functools.partial(Handler, directory=str(SITE))
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
