"""
A deadline for a whole request over HTTP: what is sent, and the answer from its first byte on.

The timeouts of urllib3 are between two bytes: an endpoint that sends one now and then, of the
head of its answer too, would hold a push for ever.  Here each wait is for what is left.
Knows nothing of OTLP.
"""

from __future__ import annotations

import io
import math
import socket
from http.client import HTTPResponse
from typing import Any, ClassVar

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection

from opencode_exporter.clock import SystemClock


class TimedAdapter(HTTPAdapter):
    """An adapter of requests that holds each to its timeout; one thread at a time may send."""

    def __init__(self) -> None:
        self._deadline = _Deadline()
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools, of connections that know the deadline."""
        super().init_poolmanager(*args, **kwargs)
        self._time(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pools of a proxy; their connections know the deadline, too."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._time(manager)
        return manager

    def _time(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {
            scheme: _timed(pool, self._deadline)
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a request; its ``timeout`` are the seconds in which all of it has to be over."""
        self._deadline.start(kwargs.get("timeout"))
        return super().send(request, *args, **kwargs)


class _Deadline:
    """The time at which a request has to be over."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._at = math.inf

    def start(self, seconds: Any) -> None:
        """Set the deadline so many seconds from now; to none, if that is no number."""
        is_number = isinstance(seconds, int | float)
        self._at = self._clock.monotonic() + (seconds if is_number else math.inf)

    def bound(self, sock: socket.socket) -> None:
        """Set the timeout of a socket to the time that is left."""
        left = self._at - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("it did not come to an end within the timeout")
        sock.settimeout(None if left == math.inf else left)


class _Timed:
    """A connection of urllib3 that waits for nothing beyond the deadline."""

    deadline: ClassVar[_Deadline]
    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        self.deadline.bound(made)  # for the handshake of TLS
        return made

    def send(self, data: Any) -> None:
        """Send some more."""
        if self.sock is not None:
            self.deadline.bound(self.sock)
        super().send(data)  # type: ignore[misc]

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> HTTPResponse:
        """Return what reads an answer."""
        answer = HTTPResponse(sock, *args, **kwargs)
        answer.fp = io.BufferedReader(_Read(answer.fp.detach(), sock, self.deadline))
        return answer


class _Read(io.RawIOBase):
    """A socket's bytes; each read waits no longer than the deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: _Deadline) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read once."""
        self._deadline.bound(self._sock)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close this and the stream below."""
        self._raw.close()
        super().close()


def _timed(pool: Any, deadline: _Deadline) -> Any:
    """Return a class of pools whose connections know a deadline."""
    kind: type[HTTPConnection] = pool.ConnectionCls
    connection = type(kind.__name__, (_Timed, kind), {"deadline": deadline})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})
