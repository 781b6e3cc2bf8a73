"""A web server on this machine that sends ranges, and counts requests and bytes."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Web:
    """``ranges``: whether it knows them; ``sizes``: whether it says how long files are."""

    def __init__(self, folder: Path, *, ranges: bool = True, sizes: bool = True) -> None:
        self.folder, self.ranges, self.sizes = folder, ranges, sizes
        self.url = ""
        self.requests = self.bytes = 0

    def reset(self) -> None:
        self.requests = self.bytes = 0


class Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.web.requests += 1
        path = self.web.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = 0, size
        if match and self.web.ranges:
            start, end = int(match[1]), min(size, int(match[2] or size) + 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        else:
            self.send_response(200)
        if self.web.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if self.web.sizes:
            self.send_header("Content-Length", str(end - start))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "GET":
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(end - start)
            self.web.bytes += len(data)
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def serving(folder: Path, *, ranges: bool = True, sizes: bool = True) -> Iterator[Web]:
    """A server of the files in ``folder``, as long as the block lasts."""
    web = Web(folder, ranges=ranges, sizes=sizes)
    kind = type("Mine", (Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
