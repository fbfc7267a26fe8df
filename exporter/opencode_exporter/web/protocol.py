"""
uvicorn held to our terms: deadlines for clients, a prompt end, no signal handlers.

A client that sends nothing, sends slowly or does not read loses its connection
after a bounded time, and none of them delays a shutdown.
Nothing here knows what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from opencode_exporter.web.config import WebConfigHolder
from opencode_exporter.web.tls import TlsSettings, live_context, san_allowed

log = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 10.0
_UNREAD_TIMEOUT_S = 60.0
_KEEP_ALIVE_S = 75
_GRACE_S = 0.5
_MOST_CONNECTIONS = 128
_AT_ONCE = 4  # new connections in one turn of the loop; some turns later they are counted


class _Protocol(H11Protocol):
    """HTTP/1.1 on one connection, with deadlines."""

    holder: WebConfigHolder
    request_timeout_s: float = _REQUEST_TIMEOUT_S
    born_s = 0.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection, unless its certificate carries no allowed name."""
        super().connection_made(transport)
        self.born_s = self.loop.time()
        if len(self.connections) > _most_connections():
            self._make_room()
        tls = self.holder.current().tls
        if tls and not san_allowed(tls.allowed_sans, transport.get_extra_info("peercert")):
            log.warning("client certificate without an allowed name refused")
            transport.abort()
            return
        self._watch()

    def _make_room(self) -> None:
        """Drop the oldest connection that no answer is made for: a new one matters more."""
        others = [other for other in self.connections if isinstance(other, _Protocol)]
        waiting = [one for one in others if not one.cycle or one.cycle.response_complete]
        oldest = min(waiting or others, key=lambda one: one.born_s)
        self.connections.discard(oldest)  # it notices later than the next one comes
        oldest.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take in bytes, and watch that a request begun is finished in time."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection and its deadline."""
        self._unwatch()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Give the client a bounded time to read what was written, and to go on."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:  # the next request has begun already
            self._watch()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(_UNREAD_TIMEOUT_S, self._drop_unread)

    def _drop_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _watch(self) -> None:
        # Neither uvicorn nor h11 ends a connection whose request never ends.
        if self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}:
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.request_timeout_s, self.transport.abort)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, also in the middle of a request that is being answered."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # what it still sends goes nowhere
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # the other answer has begun
            self.transport.abort()

    def _unsupported_upgrade_warning(self) -> None:
        # An offer of HTTP/2 or a web socket is answered in HTTP/1.1, which is
        # all that a client needs to know: two log lines a request are too many.
        pass


def _most_connections() -> int:
    """Return how many there may be; polls and new ones need files too."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_MOST_CONNECTIONS, max(1, files // 2 - 2 * _AT_ONCE))


class _State(ServerState):
    """What connections share; the date is of the answer, not of a tick before it."""

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every answer."""
        return [(b"date", formatdate(usegmt=True).encode())]

    @default_headers.setter
    def default_headers(self, _headers: list[tuple[bytes, bytes]]) -> None:
        """Take no others: uvicorn begins with none."""


class ExporterServer(uvicorn.Server):
    """A uvicorn server that ends within a second, sleeps until then, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = _State()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Begin to end.  Safe from any thread."""
        self.should_exit = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the server with it
                loop.call_soon_threadsafe(self._ending.set)

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own wakes ten times a second to look for it."""
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._ending.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen; uvicorn takes as many connections at once as may wait."""
        await super().startup(sockets)
        for sock in sockets or ():
            sock.listen(_MOST_CONNECTIONS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install nothing: signals belong to the service."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait a moment for answers in progress, then drop every connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # lets the connections notice, so that nothing is written to them
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def build_server(app: Any, holder: WebConfigHolder) -> ExporterServer:
    """Configure uvicorn for an ASGI application."""
    protocol = type("BoundProtocol", (_Protocol,), {"holder": holder})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        loop="asyncio",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        backlog=_AT_ONCE,
    )
    config.load()
    if holder.current().tls is not None:
        config.ssl = live_context(lambda: _tls(holder).context)
    return ExporterServer(config)


def _tls(holder: WebConfigHolder) -> TlsSettings:
    tls = holder.current().tls
    # A reload never turns TLS off, so this is our own bug: refuse the connection.
    if tls is None:
        raise RuntimeError("TLS was turned off under a TLS listener")
    return tls
