"""
A listener: connections from the moment they are accepted, through TLS, to their protocol.

Whatever comes in is let in, and counts in the room from then on.  Until something is said
on a connection it costs no more than its socket.
Nothing here knows what is spoken once a connection has been made.
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

from opencode_exporter.web.room import Guest, Room, Speaker

log = logging.getLogger(__name__)

_SILENCE_S: Final = 10.0
_HANDSHAKE_S: Final = 10.0
_AT_ONCE: Final = 64  # new connections in one turn of the loop
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_EXHAUSTED_S: Final = 0.1


class Visitor(Speaker, asyncio.Protocol):
    """
    A protocol whose connection counts before it has been made.

    Attributes:
        raw: The connection below all else, once there is one.
        entering: What brings it here, until it is here.
    """

    raw: asyncio.Transport | None = None
    entering: asyncio.Task[None] | None = None

    def go(self) -> None:
        """End at once, wherever it is."""
        if self.entering is not None:
            self.entering.cancel()
        if self.raw is not None:
            self.raw.abort()


class _Silent(Guest):
    """
    A connection on which nothing has been said, until that changes or takes too long.

    Args:
        conn: The connection.
        over: Told which of both it was: whether something is said.
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
        """Look at the connection no more."""
        self._loop.remove_reader(self.conn)
        self._deadline.cancel()

    def go(self) -> None:
        """End at once."""
        self.release()
        self.conn.close()


class _Door(asyncio.Protocol):
    """Keeps what comes until there is somebody to hear it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let nothing come."""
        cast("asyncio.Transport", transport).pause_reading()

    def data_received(self, data: bytes) -> None:
        """Keep what comes with the last words of a handshake."""
        self.heard.append(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note that nobody is there any more."""
        self.is_lost = True

    def hand_over(self, transport: asyncio.Transport, visitor: Visitor) -> None:
        """Let the protocol speak."""
        if self.is_lost:
            raise ConnectionResetError
        transport.set_protocol(visitor)
        visitor.connection_made(transport)
        if self.heard and not transport.is_closing():  # it may have been refused
            visitor.data_received(b"".join(self.heard))


class Listener:
    """
    Accepts connections on a socket, until it is closed.

    Args:
        sock: The socket; it listens already.
        room: Where connections count.
        visitor: Makes the protocol of a new connection.
        tls: Returns the context of the moment, where TLS is spoken.
    """

    def __init__(
        self,
        sock: socket.socket,
        room: Room,
        visitor: Callable[[], Visitor],
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._sock = sock
        self._room = room
        self._visitor = visitor
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._entering: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False
        sock.setblocking(False)
        self._go_on()

    def close(self) -> None:
        """Accept nothing more; who is not in yet does not come in."""
        self._is_closed = True
        self._stop()
        for task in self._entering:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until those have gone who were not in yet."""
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
                self._room.make_one()
                self._wait(_EXHAUSTED_S)
                return
            self._room.enter(_Silent(conn, self._let_in))
            if wait_s := self._room.make():
                self._wait(wait_s)
                return

    def _let_in(self, silent: _Silent, is_said: bool) -> None:
        if not is_said or self._is_closed:
            self._room.leave(silent)
            silent.conn.close()
            return
        visitor = self._visitor()
        task = self._loop.create_task(self._enter(silent.conn, visitor))
        visitor.entering = task
        self._room.speaks(silent, visitor)
        self._entering.add(task)
        task.add_done_callback(partial(self._entered, silent.conn, visitor))

    async def _enter(self, conn: socket.socket, visitor: Visitor) -> None:
        door = _Door()
        raw, _ = await self._loop.connect_accepted_socket(lambda: door, conn)
        visitor.raw = raw
        if self._tls is None:
            door.hand_over(raw, visitor)
            raw.resume_reading()
            return
        encrypted = await self._loop.start_tls(
            raw, door, self._tls(), server_side=True, ssl_handshake_timeout=_HANDSHAKE_S
        )
        if encrypted is None:
            raise ConnectionResetError
        door.hand_over(encrypted, visitor)

    def _entered(self, conn: socket.socket, visitor: Visitor, task: asyncio.Task[None]) -> None:
        self._entering.discard(task)
        visitor.entering = None
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            return
        self._room.leave(visitor)
        if visitor.raw is not None:
            visitor.raw.abort()
        else:
            conn.close()
        # What goes wrong on a connection is its client's matter; the rest is ours.
        if error is not None and not isinstance(error, OSError):
            log.error("connection failed", exc_info=error)
