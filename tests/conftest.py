"""Fixtures shared by all tests."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def test_data() -> Callable[[str], Path]:
    """Finds a real data file below the folder named by ONLINEFLOWS_TEST_DATA, or skips."""
    folder = os.environ.get("ONLINEFLOWS_TEST_DATA", "")

    def find(name: str) -> Path:
        if not folder:
            pytest.skip("needs real data: set ONLINEFLOWS_TEST_DATA to the folder that holds them")
        path = Path(folder) / name
        if not path.exists():
            pytest.skip(f"needs real data: {name} is not below ONLINEFLOWS_TEST_DATA")
        return path

    return find


@dataclass
class Served:
    """One file, and what goes wrong with it. The lists are used up, one entry per request.

    Args:
        content: its bytes.
        etag, last_modified: what the server says of the version; empty for nothing.
        ranges: whether parts are sent.
        heeds_if_range: whether If-Range is obeyed.
        breaks: after how many bytes the connection is cut.
        statuses: codes to answer with in place of the file.
        headers: further ones.
        content_range: said of a part in place of the truth.
        announces_length: whether there is a Content-Length.
        pause_s: before each kilobyte.
        changes: what becomes of all this after a request.
    """

    content: bytes
    etag: str = '"one"'
    last_modified: str = ""
    ranges: bool = True
    heeds_if_range: bool = True
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    content_range: str = ""
    announces_length: bool = True
    pause_s: float = 0.0
    changes: list[dict[str, Any]] = field(default_factory=list)


class FileServer:
    """A web server on loopback that misbehaves as it is told, and remembers who asked for what."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def serve(self, path: str, content: bytes, **how: Any) -> Served:
        """Serves a file; see `Served` for what may go wrong."""
        self.files[path] = Served(content, **how)
        return self.files[path]

    def ranges(self) -> list[str | None]:
        """The ranges that were asked for, one per request."""
        return [headers.get("range") for _, headers in self.asked]


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    files = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            files.asked.append((self.path, headers))
            served = files.files.get(self.path)
            if served is None:
                self.send_error(404)
                return
            now = replace(served)
            if served.changes:
                vars(served).update(served.changes.pop(0))
            answer(self, now, headers)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing waits for them

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that hang up are part of the play."""

    server = Server(("127.0.0.1", 0), Handler)
    files.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, served: Served, asked: dict[str, str]) -> None:
    if served.statuses:
        handler.send_response(served.statuses.pop(0))
        for name, value in served.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    start = 0
    wants = re.fullmatch(r"bytes=(\d+)-", asked.get("range", ""))
    condition = asked.get("if-range", "")
    if wants and served.ranges:
        same = condition in ("", served.etag, served.last_modified) or not served.heeds_if_range
        start = int(wants[1]) if same else 0
    body = served.content[start:]
    if start >= len(served.content) > 0:
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(served.content)}")
        body = b""
    elif start:
        handler.send_response(206)
        last = len(served.content) - 1
        said = served.content_range or f"bytes {start}-{last}/{len(served.content)}"
        handler.send_header("Content-Range", said)
    else:
        handler.send_response(200)
    if served.etag:
        handler.send_header("ETag", served.etag)
    if served.last_modified:
        handler.send_header("Last-Modified", served.last_modified)
    if served.announces_length:
        handler.send_header("Content-Length", str(len(body)))
    for name, value in served.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    cut = served.breaks.pop(0) if served.breaks else len(body)
    for first in range(0, min(cut, len(body)), 1024):
        time.sleep(served.pause_s)
        handler.wfile.write(body[first : min(first + 1024, cut)])
