"""
A web server on real sockets for tests, in a thread with its own event loop.

On leaving, the server has stopped and its thread has ended.
Nothing here knows what a test asserts.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import httpx

from harness.waiting import PATIENCE_S
from opencode_exporter.expose.prometheus import Rendered
from opencode_exporter.web.app import WebServer
from opencode_exporter.web.landing import Landing, LandingRow

PAGE = b"# TYPE opencode_up gauge\nopencode_up 1\n"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class FakeBackend:
    """Answers what the test says, and remembers what it was asked."""

    def __init__(self, body: bytes = PAGE) -> None:
        self.body = body
        self.why_not: str | None = None
        self.error: Exception | None = None
        self.hang = False
        self.entered = threading.Event()
        self.asked: list[tuple[str, float]] = []
        self.viewers: list[str] = []
        self.sent = 0
        self.answered = 0
        self.delay_s = 0.0
        self.rows: tuple[LandingRow, ...] = ()

    async def metrics(self, accept: str, timeout_s: float, viewer: str) -> Rendered:
        """Answer, fail or hang, as the test wants it."""
        self.asked.append((accept, timeout_s))
        self.viewers.append(viewer)
        self.entered.set()
        if self.hang:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        await asyncio.sleep(self.delay_s)
        self.answered += 1
        return Rendered(self.body, CONTENT_TYPE, self._note_sent)

    def _note_sent(self) -> None:
        self.sent += 1

    def ready(self) -> str | None:
        """Say what the test says."""
        return self.why_not

    def damage(self) -> str:
        """Say that nothing is missing."""
        return ""

    def landing(self) -> Landing:
        """Describe the process with one character to escape."""
        if self.error is not None:
            raise self.error
        return Landing("opencode-exporter", "1.2.3", "Counts <things>", self.rows, self.why_not)


@contextmanager
def serving(
    backend: FakeBackend | None = None,
    *,
    addresses: Sequence[str] = ("127.0.0.1:0",),
    telemetry_path: str = "/metrics",
    web_config: Path | None = None,
    allowed_hosts: Sequence[str] = (),
) -> Iterator[WebServer]:
    """Run a server until the block ends."""
    server = WebServer(
        backend or FakeBackend(),
        addresses=addresses,
        telemetry_path=telemetry_path,
        web_config=web_config,
        allowed_hosts=allowed_hosts,
    )
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def client_of(
    server: WebServer, *, verify: ssl.SSLContext | bool = False, index: int = 0
) -> Iterator[httpx.Client]:
    """Open a client for one of the server's addresses, whatever proxies the machine has."""
    url = server.urls[index]
    with httpx.Client(base_url=url, verify=verify, trust_env=False, timeout=PATIENCE_S) as client:
        yield client


def endpoint(server: WebServer) -> tuple[str, int]:
    """Return host and port of the server's first address."""
    host, port = server.urls[0].split("//")[1].rsplit(":", 1)
    return host.strip("[]"), int(port)


def raw_exchange(server: WebServer, request: bytes) -> bytes:
    """Send bytes as they are and return all that comes back until the server closes."""
    received = b""
    with (
        # The server may reset a connection that it had not read to the end.
        contextlib.suppress(ConnectionError),
        socket.create_connection(endpoint(server), timeout=PATIENCE_S) as sock,
    ):
        sock.sendall(request)
        while piece := sock.recv(65536):
            received += piece
    return received


def get_raw(server: WebServer, target: str) -> int:
    """Request a target that a client library would have tidied up; return the status."""
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    return int(raw_exchange(server, request.encode("latin-1")).split()[1])


def hashed(password: str, cost: int = 4) -> str:
    """Return a bcrypt hash, as htpasswd spells it; a cheap one unless told otherwise."""
    found = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost)).decode("ascii")
    return found.replace("$2b$", "$2y$")
