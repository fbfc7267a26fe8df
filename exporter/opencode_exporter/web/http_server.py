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
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from opencode_exporter.web.lane import Lane
from opencode_exporter.web.listener import Listener, Visitor
from opencode_exporter.web.room import Room, most_connections
from opencode_exporter.web.tls import TlsSettings, san_allowed
from opencode_exporter.web.web_config import WebConfigHolder

log = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 10.0
_UNREAD_TIMEOUT_S = 60.0
_KEEP_ALIVE_S = 75
_GRACE_S = 0.5


class _Protocol(H11Protocol, Visitor):
    """HTTP/1.1 on one connection, with deadlines."""

    holder: WebConfigHolder
    room: Room
    lane: Lane
    request_timeout_s: float = _REQUEST_TIMEOUT_S
    _deadline: asyncio.TimerHandle | None = None

    @property
    def is_served(self) -> bool:
        """Whether an answer is being made, and can be written."""
        return self.cycle is not None and not self.cycle.response_complete and not self.unread

    @property
    def unread(self) -> int:
        """How many bytes are written and not yet on their way."""
        below = self.raw.get_write_buffer_size() if self.raw else 0
        above = self.transport is not None and self.transport is not self.raw
        return below + (self.transport.get_write_buffer_size() if above else 0)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection, unless its certificate carries no allowed name."""
        super().connection_made(transport)
        self.room.moved(self)
        tls = self.holder.current().tls
        if tls and not san_allowed(tls.allowed_sans, transport.get_extra_info("peercert")):
            log.warning("client certificate without an allowed name refused")
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take in bytes, and watch that a request begun is finished in time."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection and its deadline."""
        self._unwatch()
        self.lane.leave(self)
        self.room.leave(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take up what has come, unless others are to be answered first."""
        if self not in self.lane:
            super().handle_events()

    def on_response_complete(self) -> None:
        """Give the client a bounded time to read what was written, and to go on."""
        has_more = bool(self.conn.trailing_data[0]) and not self.transport.is_closing()
        if has_more:
            self.lane.wait(self, self._go_on)
        super().on_response_complete()
        if has_more:
            self.flow.pause_reading()
            self._watch()
        if self.unread:
            self.loop.call_later(_UNREAD_TIMEOUT_S, self._drop_unread)
        self.room.moved(self)

    def _go_on(self) -> None:
        self.flow.resume_reading()
        self.handle_events()
        self._watch()

    def _drop_unread(self) -> None:
        if self.unread:
            self.go()

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

    def __init__(
        self,
        config: uvicorn.Config,
        protocol: type[_Protocol],
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        super().__init__(config)
        self.server_state = _State()
        self._protocol = protocol
        self._tls = tls
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
        """Begin to listen; uvicorn's own does not count who has not been let in yet."""
        await super().startup([])
        visitor = partial(self._protocol, self.config, self.server_state, {})
        for sock in sockets or ():
            listener = Listener(sock, self._protocol.room, visitor, self._tls)
            self.servers.append(listener)  # type: ignore[arg-type]  # all that is asked of one

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install nothing: signals belong to the service."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait a moment for answers in progress, then drop every connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await super().shutdown(sockets)
        self._protocol.room.clear()
        await asyncio.sleep(0)  # lets the connections notice, so that nothing is written to them
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def build_server(app: Any, holder: WebConfigHolder) -> ExporterServer:
    """Configure uvicorn for an ASGI application."""
    shared = {
        "holder": holder,
        "room": Room(time.monotonic, most_connections),
        "lane": Lane(),
    }
    protocol = type("BoundProtocol", (_Protocol,), shared)
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
    )
    config.load()
    tls = (lambda: _tls(holder).context) if holder.current().tls is not None else None
    return ExporterServer(config, protocol, tls)


def _tls(holder: WebConfigHolder) -> TlsSettings:
    tls = holder.current().tls
    # A reload never turns TLS off, so this is our own bug: refuse the connection.
    if tls is None:
        raise RuntimeError("TLS was turned off under a TLS listener")
    return tls
