"""Who goes when there are too many connections."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from harness.clock import FakeClock
from opencode_exporter.web import connections as web_connections
from opencode_exporter.web.connections import (
    ActiveConnection,
    Connection,
    Connections,
    most_connections,
)


class Silent(Connection):
    """A connection that says nothing."""

    def __init__(self) -> None:
        self.has_gone = False

    def abort(self) -> None:
        """Note it."""
        self.has_gone = True


class Talker(ActiveConnection):
    """A connection that is as the test says."""

    is_served = False
    unread = 0

    def __init__(self) -> None:
        self.has_gone = False

    def abort(self) -> None:
        """Note it."""
        self.has_gone = True


def silent(connections: Connections) -> Silent:
    """Let somebody come who says nothing."""
    guest = Silent()
    connections.add(guest)
    return guest


def talker(connections: Connections, *, is_served: bool = False, unread: int = 0) -> Talker:
    """Let somebody come who speaks."""
    speaker = Talker()
    speaker.is_served, speaker.unread = is_served, unread
    connections.activate(silent(connections), speaker)
    return speaker


def gone(*guests: Silent | Talker) -> list[bool]:
    """Return which of them have gone."""
    return [guest.has_gone for guest in guests]


@pytest.fixture
def connections(clock: FakeClock) -> Connections:
    """A room for four."""
    return Connections(clock.monotonic, lambda: 4)


def test_who_has_been_silent_longest_makes_room(connections: Connections, clock: FakeClock) -> None:
    """Each newcomer is let in, and the oldest goes for it."""
    guests = [silent(connections) for _ in range(4)]
    assert connections.make_room() == 0
    clock.advance(ms=1000)
    new = silent(connections)
    assert connections.make_room() == 0
    assert gone(*guests, new) == [True, False, False, False, False]


def test_who_has_just_come_has_a_moment_to_speak(
    connections: Connections, clock: FakeClock
) -> None:
    """Where all are new, the next one waits: it is the only rate that there is."""
    guests = [silent(connections) for _ in range(5)]
    assert connections.make_room() == pytest.approx(0.25)
    assert gone(*guests) == [False] * 5
    clock.advance(ms=200)
    assert connections.make_room() == pytest.approx(0.05)
    clock.advance(ms=50)
    assert connections.make_room() == 0
    assert gone(*guests) == [True, False, False, False, False]


def test_where_many_are_silent_they_make_room_for_each_other(
    connections: Connections, clock: FakeClock
) -> None:
    """One whose handshake takes long does not go for a thousand that say nothing."""
    slow = talker(connections)
    guests = [silent(connections) for _ in range(3)]
    clock.advance(ms=1000)
    more = [silent(connections) for _ in range(3)]
    connections.make_room()
    assert gone(slow, *guests, *more) == [False, *[True] * 3, *[False] * 3]


def test_speaker_that_did_something_longest_ago_goes(
    connections: Connections, clock: FakeClock
) -> None:
    """An answer that was taken is something; one that is not read, or a pause, is nothing."""
    idle, unread, fresh, served = (
        talker(connections),
        talker(connections, unread=5),
        talker(connections),
        talker(connections, is_served=True),
    )
    clock.advance(ms=1000)
    connections.progressed(idle)
    news = []
    for _ in range(3):
        news.append(talker(connections))
        clock.advance(ms=1000)
        connections.make_room()
    assert gone(unread, fresh, idle, served) == [True, True, True, False]
    assert gone(*news) == [False] * 3


def test_who_is_served_goes_only_if_all_are(connections: Connections, clock: FakeClock) -> None:
    """Then it is the one that has been served longest."""
    served = [talker(connections, is_served=True) for _ in range(4)]
    clock.advance(ms=1000)
    new = talker(connections, is_served=True)
    connections.make_room()
    assert gone(*served, new) == [True, False, False, False, False]


def test_not_more_than_so_many_speak(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Speakers cost memory: they make room for each other before it is full."""
    monkeypatch.setattr(web_connections, "_MOST_ACTIVE", 2)
    connections = Connections(clock.monotonic, lambda: 100)
    first, second, third = (
        talker(connections, is_served=True),
        talker(connections),
        talker(connections),
    )
    assert gone(first, second, third) == [False, True, False]


def test_what_is_not_read_takes_a_bounded_memory(connections: Connections) -> None:
    """The one that has not read for longest goes; never the one that was answered last."""
    first, second, third = talker(connections), talker(connections), talker(connections)
    for speaker in (first, second, third):
        speaker.unread = 20 << 20
        connections.progressed(speaker)
    assert gone(first, second, third) == [True, True, False]


def test_one_goes_where_no_file_is_left(connections: Connections) -> None:
    """Although there is room; but the only one stays."""
    only = silent(connections)
    connections.drop_one()
    assert not only.has_gone
    new = silent(connections)
    connections.drop_one()
    assert gone(only, new) == [True, False]
    connections.remove(new)
    connections.remove(new)
    connections.drop_one()
    assert not new.has_gone


def test_number_of_connections_follows_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the files are for everything else."""
    for files, most in ((64, 24), (1024, 504), (1 << 20, 2048), (resource.RLIM_INFINITY, 2048)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert most_connections() == most


@pytest.mark.slow
def test_file_limit_is_raised() -> None:
    """A login shell gives 1024 files, and a service manager too: the process takes more."""
    code = """if True:
        import resource
        from opencode_exporter.web.connections import raise_file_limit
        for hard in (400, 300):
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
            raise_file_limit()
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        raise_file_limit()
    """
    subprocess.run([sys.executable, "-c", code], check=True)
