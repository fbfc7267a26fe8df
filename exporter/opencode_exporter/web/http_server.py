"""
uvicorn with deadlines for clients, bounded connections and a prompt shutdown.

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
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from opencode_exporter.web.connections import Connections, most_connections
from opencode_exporter.web.listener import ActiveProtocol, Listener
from opencode_exporter.web.tls import TlsSettings, san_allowed
from opencode_exporter.web.web_config import WebConfigHolder

log = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 10.0
_UNREAD_TIMEOUT_S = 60.0
_KEEP_ALIVE_S = 75
_GRACE_S = 0.5
_APART_S = 0.005


class PipelineQueue:
    """
    The queue of connections whose next request came before they had been answered.

    A client that has sent a thousand requests at once would have a thousand answers before
    anybody else has one.  So its next request waits for those of others, and all such
    requests together are answered at a bounded rate, in the order in which they came.
    """

    def __init__(self) -> None:
        self._waiting: dict[object, Callable[[], None]] = {}
        self._is_moving = False

    def add(self, connection: object, go_on: Callable[[], None]) -> None:
        """Queue a connection; it is called back when it is its turn."""
        self._waiting[connection] = go_on
        if not self._is_moving:
            self._is_moving = True
            self._move()

    def remove(self, connection: object) -> None:
        """Take a connection out; safe for one that does not wait."""
        self._waiting.pop(connection, None)

    def __contains__(self, connection: object) -> bool:
        return connection in self._waiting

    def _move(self) -> None:
        asyncio.get_running_loop().call_later(_APART_S, self._call)

    def _call(self) -> None:
        self._is_moving = bool(self._waiting)
        if self._is_moving:
            self._waiting.pop(next(iter(self._waiting)))()
            self._move()


class _Protocol(H11Protocol, ActiveProtocol):
    """HTTP/1.1 on one connection, with deadlines."""

    holder: WebConfigHolder
    open_connections: Connections
    pipelined: PipelineQueue
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
        """Start a connection; one whose certificate carries no allowed name is aborted."""
        super().connection_made(transport)
        self.open_connections.progressed(self)
        tls = self.holder.current().tls
        if tls and not san_allowed(tls.allowed_sans, transport.get_extra_info("peercert")):
            log.warning("client certificate without an allowed name refused")
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take in bytes; a request has to end before its deadline."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection and its deadline."""
        self._unwatch()
        self.pipelined.remove(self)
        self.open_connections.remove(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle the requests that have come, unless those of others are next."""
        if self not in self.pipelined:
            super().handle_events()

    def on_response_complete(self) -> None:
        """Give the client a bounded time to read the answer, and queue its next request."""
        has_more = bool(self.conn.trailing_data[0]) and not self.transport.is_closing()
        if has_more:
            self.pipelined.add(self, self._go_on)
        super().on_response_complete()
        if has_more:
            self.flow.pause_reading()
            self._watch()
        if self.unread:
            self.loop.call_later(_UNREAD_TIMEOUT_S, self._drop_unread)
        self.open_connections.progressed(self)

    def _go_on(self) -> None:
        self.flow.resume_reading()
        self.handle_events()
        self._watch()

    def _drop_unread(self) -> None:
        if self.unread:
            self.abort()

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
        """Refuse bytes that are no HTTP, also while another request is being answered."""
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


class ExporterServer(uvicorn.Server):
    """A uvicorn server that ends within a second, sleeps until then, and leaves signals alone."""

    def __init__(
        self,
        config: uvicorn.Config,
        protocol: type[_Protocol],
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        super().__init__(config)
        self._protocol = protocol
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Make `serve` return.  Safe from any thread."""
        self.should_exit = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the server with it
                loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        """Wait for `stop`; uvicorn's own wakes ten times a second to look for it."""
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._stopping.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen; uvicorn's own does not count connections before their handshake."""
        await super().startup([])
        make_protocol = partial(self._protocol, self.config, self.server_state, {})
        for sock in sockets or ():
            listener = Listener(sock, self._protocol.open_connections, make_protocol, self._tls)
            self.servers.append(listener)  # type: ignore[arg-type]  # all that is asked of one

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install nothing: signals belong to the service."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait a moment for answers in progress, then abort every connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await super().shutdown(sockets)
        self._protocol.open_connections.abort_all()
        await asyncio.sleep(0)  # lets the connections notice, so that nothing is written to them
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def build_server(app: Any, holder: WebConfigHolder) -> ExporterServer:
    """Configure uvicorn for an ASGI application."""
    shared = {
        "holder": holder,
        "open_connections": Connections(time.monotonic, most_connections),
        "pipelined": PipelineQueue(),
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
        date_header=False,  # ours is of the answer, not of a tick before it
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
