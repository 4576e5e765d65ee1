"""Pixels on their way from a page to a test, past the pipe by which the browser is driven.

Through that pipe they would go as text, which five processes write and read anew: a third of a
second of processor time for one gallery.
"""

from __future__ import annotations

import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count


class PixelReceiver:
    """A server on the loopback address that keeps what pages post to it."""

    def __init__(self) -> None:
        posted: dict[str, bytes] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._posted, self._numbers = posted, count(1)
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def new_url(self) -> str:
        """Return an address for one post."""
        return f"http://127.0.0.1:{self._server.server_port}/{next(self._numbers)}"

    def posted_to(self, url: str) -> bytes:
        """Return what a page has posted, once it has been answered."""
        return self._posted.pop(f"/{url.rpartition('/')[2]}")


@cache
def receiver() -> PixelReceiver:
    """Return the one of this process."""
    return PixelReceiver()
