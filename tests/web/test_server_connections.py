"""Who goes when there are too many connections, and who has a turn when many want one."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trustme

from harness.clock import FakeClock
from harness.waiting import PATIENCE_S, SOON_S, wait_for
from harness.web_server import FakeBackend, client_of, endpoint, get_raw, raw_exchange, serving
from opencode_exporter.web import connections as web_connections
from opencode_exporter.web import http_server as web_protocol
from opencode_exporter.web import listener as web_listener
from opencode_exporter.web.app import WebServer
from opencode_exporter.web.auth import BusyError, FairLock
from opencode_exporter.web.connections import (
    ActiveConnection,
    Connection,
    Connections,
    most_connections,
)
from opencode_exporter.web.http_server import PipelineQueue


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


# Turns.


def test_turns_go_round_among_clients() -> None:
    """Who asks once is next, however many of others wait; of one client the last is next."""
    order: list[str] = []

    async def take(lock: FairLock, client: str, name: str, *, is_last: bool = False) -> None:
        async with lock.hold(client, is_last=is_last):
            order.append(name)
            await asyncio.sleep(0)

    async def run() -> None:
        lock = FairLock()
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(take(lock, "crowd", f"crowd {number}"))
            tasks.create_task(take(lock, "other", "stranger", is_last=True))
            tasks.create_task(take(lock, "one", "one"))
            await asyncio.sleep(0)

    asyncio.run(run())
    assert order == ["crowd 0", "one", "crowd 3", "crowd 2", "crowd 1", "stranger"]


def test_who_waits_too_long_in_a_crowd_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The places are bounded: the one goes that would be last."""
    monkeypatch.setattr("opencode_exporter.web.auth._MOST_WAITING", 2)
    busy: list[str] = []

    async def take(lock: FairLock, name: str) -> None:
        try:
            async with lock.hold("crowd"):
                await asyncio.sleep(0)
        except BusyError:
            busy.append(name)

    async def run() -> None:
        lock = FairLock()
        async with asyncio.TaskGroup() as tasks:
            for name in ("has it", "first", "second", "third", "fourth"):
                tasks.create_task(take(lock, name))

    asyncio.run(run())
    assert busy == ["first", "second"]


@pytest.mark.parametrize("when", ["waiting", "having it", "as it is given"])
def test_turn_of_one_who_leaves_is_passed_on(when: str) -> None:
    """Nobody waits for a turn that somebody has who is gone."""

    async def run() -> None:
        lock = FairLock()
        release = asyncio.Event()

        async def take() -> None:
            async with lock.hold("one"):
                await release.wait()

        first = asyncio.create_task(take())
        await asyncio.sleep(0)
        second = asyncio.create_task(take())
        await asyncio.sleep(0)
        if when == "having it":
            first.cancel()
        elif when == "waiting":
            second.cancel()
            release.set()
        else:
            release.set()
            await asyncio.sleep(0)  # the first has done, and the second does not know yet
            second.cancel()
        release.set()
        await asyncio.gather(first, second, return_exceptions=True)
        async with asyncio.timeout(PATIENCE_S), lock.hold("other"):
            pass

    asyncio.run(run())


# The queue of those who ask on.


def test_lane_calls_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order in which they came; who leaves is called no more."""
    monkeypatch.setattr(web_protocol, "_APART_S", 0.001)
    called: list[str] = []

    async def run() -> None:
        queue = PipelineQueue()
        done = asyncio.Event()
        for name in ("a", "b", "c"):
            queue.add(name, lambda name=name: called.append(name))  # type: ignore[misc]
        queue.remove("b")
        queue.remove("nobody")
        queue.add("last", done.set)
        assert "a" in queue
        await asyncio.wait_for(done.wait(), PATIENCE_S)
        assert "a" not in queue
        again = asyncio.Event()
        queue.add("a", again.set)
        await asyncio.wait_for(again.wait(), PATIENCE_S)

    asyncio.run(run())
    assert called == ["a", "c"]


def test_requests_sent_at_once_are_all_answered() -> None:
    """A client that does not wait for answers gets them all the same, in order."""
    one = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with serving() as server:
        answer = raw_exchange(server, one * 200 + last)
    assert (answer.count(b" 200 OK"), answer.count(b" 404 ")) == (200, 1)


# Connections count from the first moment on.


def tls_config(folder: Path) -> Path:
    """Write a configuration with TLS."""
    leaf = trustme.CA().issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    path = folder / "web.yml"
    path.write_text("tls_server_config: {cert_file: both.pem, key_file: both.pem}")
    return path


@contextlib.contextmanager
def connected(server: WebServer, number: int, words: bytes) -> Iterator[list[socket.socket]]:
    """Connect a number of clients that say a few words and no more."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(number):
            sock = socket.create_connection(endpoint(server), timeout=PATIENCE_S)
            connections.append(stack.enter_context(sock))
            sock.sendall(words)
        yield connections


def is_closed(sock: socket.socket) -> bool:
    """Say whether the other side has gone."""
    sock.settimeout(0.01)
    try:
        return not sock.recv(1 << 16)
    except TimeoutError:
        return False
    except OSError:
        return True


HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""How a handshake of TLS begins."""


@pytest.mark.slow
@pytest.mark.parametrize("words", [b"", HELLO], ids=["silent", "half a handshake"])
def test_handshake_counts(words: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Connections that do not come to speak HTTP make connections, too.

    They were in no count, and took every file for a minute.
    """
    monkeypatch.setattr(web_protocol, "most_connections", lambda: 20)
    with (
        serving(web_config=tls_config(tmp_path)) as server,
        client_of(server) as client,
        connected(server, 100, words) as connections,
    ):
        wait_for(lambda: sum(map(is_closed, connections)) >= 80)
        assert client.get("/metrics").status_code == 200
        assert not all(map(is_closed, connections))


@pytest.mark.parametrize(
    ("constant", "words"), [("_SILENCE_S", b""), ("_HANDSHAKE_S", HELLO)], ids=["silent", "slow"]
)
def test_handshake_has_a_deadline(
    constant: str, words: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not begin, or not end, its handshake is dropped."""
    monkeypatch.setattr(web_listener, constant, 0.3)
    with (
        serving(web_config=tls_config(tmp_path)) as server,
        connected(server, 3, words) as connections,
    ):
        wait_for(lambda: all(map(is_closed, connections)), SOON_S)


def test_page_that_nobody_reads_is_dropped_behind_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TLS has written counts until the client has taken it."""
    monkeypatch.setattr(web_protocol, "_UNREAD_TIMEOUT_S", 0.2)
    context = ssl._create_unverified_context()  # noqa: S323 - our own server
    with serving(FakeBackend(b"x" * 30_000_000), web_config=tls_config(tmp_path)) as server:
        connections = server._server.server_state.connections
        with context.wrap_socket(
            socket.create_connection(endpoint(server), timeout=PATIENCE_S)
        ) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_for(lambda: bool(connections))
            wait_for(lambda: not connections, SOON_S)


def test_newcomers_are_let_in_past_those_who_do_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A full house of clients that ask and do not read keeps nobody out.

    The newcomer was its own victim: it was the only one for which no answer was being made.
    """
    monkeypatch.setattr(web_protocol, "most_connections", lambda: 20)
    many = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
    with serving(FakeBackend(b"x" * 1_000_000)) as server, connected(server, 40, many):
        for _ in range(10):
            assert get_raw(server, "/-/healthy") == 200


def test_early_words_behind_tls_are_heard(tmp_path: Path) -> None:
    """A request that comes with the last message of the handshake is answered."""
    context = ssl._create_unverified_context()  # noqa: S323 - our own server
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with serving(web_config=tls_config(tmp_path)) as server:
        for _ in range(5):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = context.wrap_bio(incoming, outgoing)
            with socket.create_connection(endpoint(server), timeout=PATIENCE_S) as sock:
                answered(client.do_handshake, sock, incoming, outgoing)
                client.write(request)  # goes with what ends the handshake
                answer = answered(partial(client.read, 1 << 16), sock, incoming, outgoing)
            assert answer.startswith(b"HTTP/1.1 200 ")


def answered(
    step: Callable[[], bytes | None],
    sock: socket.socket,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
) -> bytes:
    """Take a step of TLS, and carry what it needs; what it has to say last stays unsaid."""
    while True:
        try:
            return step() or b""
        except ssl.SSLWantReadError:
            if outgoing.pending:
                sock.sendall(outgoing.read())
            incoming.write(sock.recv(1 << 16))
