"""
A listener: connections from the moment they are accepted, through TLS, to their protocol.

Every connection is accepted, and counts from then on.  Until its client says something
it costs no more than its socket.
Nothing here knows which protocol is spoken.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from opencode_exporter.web.connections import ActiveConnection, Connection, Connections

log = logging.getLogger(__name__)

_SILENCE_S: Final = 10.0
_HANDSHAKE_S: Final = 10.0
_AT_ONCE: Final = 64  # new connections in one turn of the loop
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_EXHAUSTED_S: Final = 0.1


class ActiveProtocol(ActiveConnection, asyncio.Protocol):
    """
    A protocol whose connection counts before its handshake is over.

    Attributes:
        raw: The transport below TLS, once there is one.
        entering: The task of the handshake, until it is over.
    """

    raw: asyncio.Transport | None = None
    entering: asyncio.Task[None] | None = None

    def abort(self) -> None:
        """End the handshake or the connection at once."""
        if self.entering is not None:
            self.entering.cancel()
        if self.raw is not None:
            self.raw.abort()


class _Silent(Connection):
    """
    A connection whose client has said nothing, until that changes or takes too long.

    Args:
        conn: The connection.
        over: Called when it is over, with whether something was said.
    """

    def __init__(self, conn: socket.socket, over: Callable[[_Silent, bool], None]) -> None:
        self.conn = conn
        self._over = over
        self._loop = asyncio.get_running_loop()
        conn.setblocking(False)
        self._loop.add_reader(conn, self._end, True)
        self._deadline = self._loop.call_later(_SILENCE_S, self._end, False)

    def _end(self, is_said: bool) -> None:
        self.release()
        self._over(self, is_said)

    def release(self) -> None:
        """Stop watching the connection."""
        self._loop.remove_reader(self.conn)
        self._deadline.cancel()

    def abort(self) -> None:
        """End at once."""
        self.release()
        self.conn.close()


class _Handshake(asyncio.Protocol):
    """The protocol during a handshake: keeps bytes that come early for the next one."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stop reading until the handshake starts."""
        cast("asyncio.Transport", transport).pause_reading()

    def data_received(self, data: bytes) -> None:
        """Keep bytes that came with the last message of the handshake."""
        self.heard.append(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note that the client has gone."""
        self.is_lost = True

    def hand_over(self, transport: asyncio.Transport, protocol: ActiveProtocol) -> None:
        """Hand the connection, and what came early, to its protocol."""
        if self.is_lost:
            raise ConnectionResetError
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self.heard and not transport.is_closing():  # it may have been refused
            protocol.data_received(b"".join(self.heard))


class Listener:
    """
    Accepts connections on a socket, until it is closed.

    Args:
        sock: The socket; it listens already.
        connections: All connections of the server, in which the new ones count.
        protocol: Makes the protocol of a new connection.
        tls: Returns the current context; None: without TLS.
    """

    def __init__(
        self,
        sock: socket.socket,
        connections: Connections,
        protocol: Callable[[], ActiveProtocol],
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._sock = sock
        self._connections = connections
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._entering: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False
        sock.setblocking(False)
        self._go_on()

    def close(self) -> None:
        """Accept nothing more, and end the handshakes that are not over."""
        self._is_closed = True
        self._stop()
        for task in self._entering:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until the handshakes have ended."""
        await asyncio.gather(*self._entering, return_exceptions=True)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._accept)

    def _stop(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)

    def _wait(self, seconds: float) -> None:
        """Leave new connections to the system for a while."""
        self._stop()
        self._pause = self._loop.call_later(seconds, self._go_on)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                conn, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                log.warning("a new connection has to wait", extra={"err": error.strerror})
                self._connections.drop_one()
                self._wait(_EXHAUSTED_S)
                return
            self._connections.add(_Silent(conn, self._let_in))
            if wait_s := self._connections.make_room():
                self._wait(wait_s)
                return

    def _let_in(self, silent: _Silent, is_said: bool) -> None:
        if not is_said or self._is_closed:
            self._connections.remove(silent)
            silent.conn.close()
            return
        protocol = self._protocol()
        task = self._loop.create_task(self._enter(silent.conn, protocol))
        protocol.entering = task
        self._connections.activate(silent, protocol)
        self._entering.add(task)
        task.add_done_callback(partial(self._entered, silent.conn, protocol))

    async def _enter(self, conn: socket.socket, protocol: ActiveProtocol) -> None:
        handshake = _Handshake()
        raw, _ = await self._loop.connect_accepted_socket(lambda: handshake, conn)
        protocol.raw = raw
        if self._tls is None:
            handshake.hand_over(raw, protocol)
            raw.resume_reading()
            return
        encrypted = await self._loop.start_tls(
            raw, handshake, self._tls(), server_side=True, ssl_handshake_timeout=_HANDSHAKE_S
        )
        if encrypted is None:
            raise ConnectionResetError
        handshake.hand_over(encrypted, protocol)

    def _entered(
        self, conn: socket.socket, protocol: ActiveProtocol, task: asyncio.Task[None]
    ) -> None:
        self._entering.discard(task)
        protocol.entering = None
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            return
        self._connections.remove(protocol)
        if protocol.raw is not None:
            protocol.raw.abort()
        else:
            conn.close()
        # What goes wrong on a connection is its client's matter; the rest is ours.
        if error is not None and not isinstance(error, OSError):
            log.error("connection failed", exc_info=error)
