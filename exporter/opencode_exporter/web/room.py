"""
The room: how many connections there are, and which one goes when there are too many.

A connection counts from the moment it is accepted.  Whoever comes is let in: the one goes
that has kept its place longest without doing anything with it, be it that it says nothing,
does not end what it says or does not read what it is told.
Nothing here knows what a connection speaks.
"""

from __future__ import annotations

import resource
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

_MOST: Final = 2048
_MOST_SPEAKING: Final = 512
_FILES: Final = 65_536  # more are not needed, and some systems name numbers that they refuse
_STAY_S: Final = 0.25
_MANY: Final = 0.25  # of all
_MOST_UNREAD: Final = 32 << 20


class Guest(ABC):
    """A connection, as far as it takes room."""

    @abstractmethod
    def go(self) -> None:
        """End at once."""


class Speaker(Guest):
    """A connection on which something has been said."""

    @property
    @abstractmethod
    def is_served(self) -> bool:
        """Whether we work for it, instead of waiting for it."""

    @property
    @abstractmethod
    def unread(self) -> int:
        """How many bytes it has been told and has not taken."""


class Room:
    """
    The connections of a server: those that are silent yet, which cost little, and the others.

    Of either kind those are first that did something longest ago.

    Args:
        clock: A stopwatch.
        most: How many there may be.
    """

    def __init__(self, clock: Callable[[], float], most: Callable[[], int]) -> None:
        self._clock = clock
        self._most = most
        self._came: dict[Guest, float] = {}
        self._silent: dict[Guest, None] = {}
        self._speaking: dict[Guest, Speaker] = {}

    def enter(self, guest: Guest) -> None:
        """Take in a new connection; `make` has to follow."""
        self._came[guest] = self._clock()
        self._silent[guest] = None

    def speaks(self, guest: Guest, speaker: Speaker) -> None:
        """Note that something is said on a connection, and who speaks there from now on."""
        came = self._came[guest]
        self.leave(guest)
        if len(self._speaking) >= _MOST_SPEAKING:
            self._send_off(self._idle()[0])
        self._came[speaker] = came
        self._speaking[speaker] = speaker

    def moved(self, speaker: Speaker) -> None:
        """Note that a connection has got on: a handshake is over, or an answer."""
        if self._speaking.pop(speaker, None):
            self._speaking[speaker] = speaker
            if speaker.unread:
                self._bound_unread()

    def leave(self, guest: Guest) -> None:
        """Forget a connection that has ended; safe to call again."""
        self._came.pop(guest, None)
        self._silent.pop(guest, None)
        self._speaking.pop(guest, None)

    def make(self) -> float:
        """
        Have as many go as there are too many.

        Returns:
            In how many seconds there will be room, if there is none: whoever has come has a
            moment to say something, before it goes for the next one.
        """
        while len(self._came) > self._most():
            settled = self._clock() - _STAY_S
            going = self._going()
            first = next((guest for guest in going if self._came[guest] <= settled), None)
            if first is None:
                return min(self._came[guest] for guest in going) - settled
            self._send_off(first)
        return 0.0

    def make_one(self) -> None:
        """Have one go although there is room; not the only one."""
        if len(self._came) > 1:
            self._send_off(self._going()[0])

    def _going(self) -> list[Guest]:
        """
        Return who may go, the first one first.

        Who comes honestly speaks at once, but may take a while to end what it says.  So
        where many are silent, they make room for each other.
        """
        if len(self._silent) >= _MANY * len(self._came):
            return list(self._silent)
        return [*self._idle()]

    def _idle(self) -> list[Speaker]:
        """Return the speakers that are not served, or all if all are."""
        speaking = list(self._speaking.values())
        return [one for one in speaking if not one.is_served] or speaking

    def clear(self) -> None:
        """Have all go."""
        for guest in list(self._came):
            self._send_off(guest)

    def _bound_unread(self) -> None:
        """Have those go that have not read for longest; never the one that was told last."""
        unread = [(speaker, speaker.unread) for speaker in self._speaking.values()]
        total = sum(size for _, size in unread)
        for speaker, size in unread[:-1]:
            if total <= _MOST_UNREAD:
                return
            if size:
                total -= size
                self._send_off(speaker)

    def _send_off(self, guest: Guest) -> None:
        self.leave(guest)  # it notices its end later than the next one comes
        guest.go()


def most_connections() -> int:
    """Return how many there may be: polls need files, too."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MOST
    return min(_MOST, max(1, files // 2 - 8))


def raise_file_limit() -> None:
    """Let the process have as many files as it may give itself, as programs in Go do."""
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
