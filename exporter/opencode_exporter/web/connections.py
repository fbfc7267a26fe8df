"""
The open connections: how many there are, and which one is dropped when there are too many.

A connection counts from the moment it is accepted.  Whoever comes is let in: the connection
is dropped that has been idle longest, be it that its client says nothing, does not end its
request or does not read its answer.
Nothing here knows which protocol a connection speaks.
"""

from __future__ import annotations

import resource
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

_MOST: Final = 2048
_MOST_ACTIVE: Final = 512
_FILES: Final = 65_536  # more are not needed, and some systems name numbers that they refuse
_STAY_S: Final = 0.25
_MANY: Final = 0.25  # of all
_MOST_UNREAD: Final = 32 << 20


class Connection(ABC):
    """A connection that counts."""

    @abstractmethod
    def abort(self) -> None:
        """End at once."""


class ActiveConnection(Connection):
    """A connection on which the client has said something."""

    @property
    @abstractmethod
    def is_served(self) -> bool:
        """Whether we work for the client, instead of waiting for it."""

    @property
    @abstractmethod
    def unread(self) -> int:
        """How many bytes of its answers the client has not taken."""


class Connections:
    """
    The connections of a server: the silent ones, which cost little, and the active ones.

    Each kind is kept in order, the one that did something longest ago first.

    Args:
        clock: A stopwatch.
        most: Returns how many there may be.
    """

    def __init__(self, clock: Callable[[], float], most: Callable[[], int]) -> None:
        self._clock = clock
        self._most = most
        self._since: dict[Connection, float] = {}
        self._silent: dict[Connection, None] = {}
        self._active: dict[Connection, ActiveConnection] = {}

    def add(self, silent: Connection) -> None:
        """Count a new connection; `make_room` has to follow."""
        self._since[silent] = self._clock()
        self._silent[silent] = None

    def activate(self, silent: Connection, active: ActiveConnection) -> None:
        """Count an active connection instead of the silent one that it was."""
        since = self._since[silent]
        self.remove(silent)
        if len(self._active) >= _MOST_ACTIVE:
            self._drop(self._idle()[0])
        self._since[active] = since
        self._active[active] = active

    def progressed(self, active: ActiveConnection) -> None:
        """Note that a connection has got on: a handshake is over, or an answer."""
        if self._active.pop(active, None):
            self._active[active] = active
            if active.unread:
                self._bound_unread()

    def remove(self, connection: Connection) -> None:
        """Count a connection no more; safe to call again."""
        self._since.pop(connection, None)
        self._silent.pop(connection, None)
        self._active.pop(connection, None)

    def make_room(self) -> float:
        """
        Drop as many connections as there are too many.

        Returns:
            In how many seconds to try again, 0 for never: a new connection has a moment to
            say something, before it is dropped for the next one.
        """
        while len(self._since) > self._most():
            settled = self._clock() - _STAY_S
            droppable = self._droppable()
            first = next((one for one in droppable if self._since[one] <= settled), None)
            if first is None:
                return min(self._since[one] for one in droppable) - settled
            self._drop(first)
        return 0.0

    def drop_one(self) -> None:
        """Drop one connection, unless it is the only one."""
        if len(self._since) > 1:
            self._drop(self._droppable()[0])

    def _droppable(self) -> list[Connection]:
        """
        Return the connections that may be dropped, the first one first.

        An honest client speaks at once, but may take a while to end its request.  So
        where many are silent, only silent ones are dropped.
        """
        if len(self._silent) >= _MANY * len(self._since):
            return list(self._silent)
        return [*self._idle()]

    def _idle(self) -> list[ActiveConnection]:
        """Return the active connections that are not served, or all if all are."""
        active = list(self._active.values())
        return [one for one in active if not one.is_served] or active

    def abort_all(self) -> None:
        """End every connection."""
        for connection in list(self._since):
            self._drop(connection)

    def _bound_unread(self) -> None:
        """Drop the connections that have not read for longest; never the one answered last."""
        unread = [(one, one.unread) for one in self._active.values()]
        total = sum(size for _, size in unread)
        for connection, size in unread[:-1]:
            if total <= _MOST_UNREAD:
                return
            if size:
                total -= size
                self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self.remove(connection)  # it notices its end later than the next one comes
        connection.abort()


def most_connections() -> int:
    """Return how many connections there may be: polls need files, too."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MOST
    return min(_MOST, max(1, files // 2 - 8))


def raise_file_limit() -> None:
    """Raise the process's limit of open files as far as it may, as programs in Go do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    for files in (wanted, 10_240):  # macOS: more than its OPEN_MAX is refused
        if soft == resource.RLIM_INFINITY or files <= soft:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        except (OSError, ValueError):
            continue
        return
