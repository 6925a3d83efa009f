"""Servers on this machine that receive what is posted to them, well or badly."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What has been posted.

    Args:
        address: to post to; its path is a secret.
        raw: each body, in order.
        headers: of each.
    """

    address: str = ""
    raw: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def bodies(self) -> list[Any]:
        """Each body, which is JSON."""
        return [json.loads(one) for one in self.raw]

    def wait_for(self, count: int, seconds: float = 30.0) -> None:
        """Wait until so many have come."""
        deadline = time.monotonic() + seconds
        while len(self.raw) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.raw) == count


Answer = Callable[[BaseHTTPRequestHandler], None]


def taken(handler: BaseHTTPRequestHandler) -> None:
    """Answer as Slack does."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"ok")


@contextmanager
def receiver(
    answer: Answer = taken, prepare: Callable[[ThreadingHTTPServer], object] = lambda _: None
) -> Iterator[Receiver]:
    """A server on loopback that answers so.

    Args:
        prepare: what is done to it before it starts.
    """
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.headers.append(dict(self.headers))
            received.raw.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            answer(self)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the other side has left
    prepare(server)
    received.address = f"http://127.0.0.1:{server.server_port}/services/T0/B0/the-secret"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
