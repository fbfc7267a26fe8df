"""A real exporter under clients that flood it, get stuck, or play tricks."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from harness.clock import FakeClock
from harness.exporters import Bench, Exposed
from harness.processes.served import Served
from harness.processes.work import CALLS, SOURCE, Work, counts, serve, shown, working
from harness.waiting import PATIENCE_S, SOON_S, wait_for
from harness.web_server import FakeBackend, endpoint, serving
from opencode_exporter.commands.logs import Throttle
from opencode_exporter.web import http_server as web_protocol

CLOSE: Final = b"Host: localhost\r\nConnection: close\r\n"
SCRAPE: Final = b"GET /metrics HTTP/1.1\r\n" + CLOSE + b"\r\n"


def post(headers: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    """Return a request with a body, as it goes over the wire."""
    return method + b" /metrics HTTP/1.1\r\n" + CLOSE + headers + b"\r\n" + body


def get(target: bytes, headers: bytes = b"", method: bytes = b"GET") -> bytes:
    """Return a request for a target that no client library would send."""
    return method + b" " + target + b" HTTP/1.1\r\n" + CLOSE + headers + b"\r\n"


CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
ODD: Final[dict[str, tuple[bytes, set[int]]]] = {
    "POST": (post(b"Content-Length: 3\r\n", b"abc"), {405}),
    "PUT": (post(b"Content-Length: 3\r\n", b"abc", b"PUT"), {405}),
    "a body that never comes": (post(b"Content-Length: 3\r\n"), {405}),
    "expects 100": (post(b"Expect: 100-continue\r\nContent-Length: 3\r\n", b"abc"), {405}),
    "a huge length": (post(b"Content-Length: " + b"9" * 19 + b"\r\n"), {413}),
    "an absurd length": (post(b"Content-Length: " + b"9" * 5000 + b"\r\n"), {400}),
    "a negative length": (post(b"Content-Length: -1\r\n"), {400}),
    "two lengths": (post(b"Content-Length: 1\r\nContent-Length: 2\r\n", b"a"), {400}),
    "chunks": (post(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"), {411}),
    "chunks and a length": (post(b"Content-Length: 1\r\n" + CHUNKED, b"0\r\n\r\n"), {400}),
    "chunks of nonsense": (post(CHUNKED, b"ZZ\r\n"), {400}),
    "an unknown coding": (post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), {400}),
    "1000 headers": (get(b"/metrics", b"X-A: y\r\n" * 1000), {200}),
    "100 000 headers": (get(b"/metrics", b"X-A: y\r\n" * 100_000), {400}),
    "a huge header": (get(b"/metrics", b"X-A: " + b"y" * 1_000_000 + b"\r\n"), {400}),
    "an odd Accept": (get(b"/metrics", b"Accept: a/b;;q=\xff,,;version=1.x\r\n"), {200}),
    "an odd password": (get(b"/metrics", b"Authorization: Basic \xff\r\n"), {200}),
    "an odd timeout": (get(b"/metrics", b"X-Prometheus-Scrape-Timeout-Seconds: \xff\r\n"), {200}),
    "a long path": (get(b"/" + b"a" * 50_000), {404}),
    "a very long path": (get(b"/" + b"a" * 1_000_000), {400}),
    "a long query": (get(b"/metrics?" + b"a=b&" * 10_000), {200}),
    "two slashes": (get(b"//metrics"), {404}),
    "a slash behind": (get(b"/metrics/"), {404}),
    "dots": (get(b"/metrics/../metrics"), {404}),
    "hidden dots": (get(b"/%2e%2e/%2e%2e/etc/passwd"), {404}),
    "a NUL": (get(b"/metrics%00"), {404}),
    "half an escape": (get(b"/metrics%"), {404}),
    "no UTF-8": (get(b"/%ff%fe"), {404}),
    "no ASCII": (get(b"/\xff"), {400}),
    "a fragment": (get(b"/metrics#x"), {404}),
    "absolute form": (get(b"http://x/metrics"), {404}),
    "CONNECT": (get(b"x:443", method=b"CONNECT"), {404}),
    "OPTIONS of all": (get(b"*", method=b"OPTIONS"), {404}),
    "OPTIONS": (get(b"/metrics", method=b"OPTIONS"), {405}),
    "HEAD": (get(b"/metrics", method=b"HEAD"), {200}),
    "an unknown method": (get(b"/metrics", method=b"BREW"), {405}),
    "small letters": (get(b"/metrics", method=b"get"), {405}),
    "HTTP/1.0": (b"GET /metrics HTTP/1.0\r\n\r\n", {200}),
    "HTTP/0.9": (b"GET /metrics\r\n\r\n", {400}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 404}),
    "no host": (b"GET /metrics HTTP/1.1\r\n\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100, {400}),
    "a web socket": (get(b"/metrics", b"Upgrade: websocket\r\n"), {200}),
}
"""Each with the statuses that fit; above all it is never 500, and never no answer at all."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A directory for all tests here: the process that one of them harms must serve the next."""
    return Bench(tmp_path_factory.mktemp("network"), FakeClock())


@pytest.fixture(scope="module")
def work(place: Bench) -> Iterator[Work]:
    """A database with some calls."""
    with working(place, 50) as work:
        yield work


@pytest.fixture(scope="module")
def served(place: Bench, work: Work) -> Iterator[Served]:
    """The real process over it; at its end nothing of ours has gone wrong."""
    with serve(place) as process:
        counts(process, work.calls)
        yield process
        counts(process, work.calls)
        assert process.stop() == 0
        for words in ("ASGI", "Fatal error", "request failed", "poll failed", "never retrieved"):
            assert words not in process.log
        assert process.log.count("\n") < 25


def connect(served: Served, seconds: float = 10) -> socket.socket:
    """Open a connection to it."""
    host, port = served.target.split(":")
    return socket.create_connection((host, int(port)), timeout=seconds)


def ask(served: Served, request: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back."""
    received = b""
    with contextlib.suppress(ConnectionError), connect(served) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(request)
        while piece := sock.recv(65536):
            received += piece
    return received


@pytest.mark.slow
def test_odd_requests_get_a_fitting_answer(served: Served, work: Work) -> None:
    """Bodies, floods of headers and tricks with paths are answered by 200 or 4xx, never 500."""
    for name, (request, fitting) in ODD.items():
        answer = ask(served, request)
        # The rest of a refused flood may reset the connection before the answer is read.
        status = int(answer.split()[1]) if answer else 400
        assert status in fitting, name
    assert shown(served) == (1, work.calls)


@pytest.mark.slow
def test_flood_of_bad_requests_does_not_flood_the_log(served: Served) -> None:
    """Hundreds of requests that are no HTTP leave one line in the log."""
    for _ in range(300):
        assert ask(served, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert 1 <= served.log.count("Invalid HTTP request received.") <= 2


def test_line_held_back_is_counted() -> None:
    """After half a minute the line is written again, and says how often it was held back."""

    def line(at: float, name: str = "uvicorn.error") -> logging.LogRecord:
        found = logging.LogRecord(name, logging.WARNING, "", 0, "Invalid", (), None)
        found.created = at
        return found

    throttle = Throttle()
    times = (1000.0, 1001.0, 1029.0, 1031.0, 1032.0, 500.0)  # the clock is set back at last
    written = [one for one in map(line, times) if throttle.filter(one)]
    assert [one.created for one in written] == [1000.0, 1031.0, 500.0]
    assert [vars(one).get("repeated") for one in written] == [None, 2, 1]
    assert all(throttle.filter(line(at, "opencode_exporter.service.poller")) for at in times)


@pytest.mark.slow
def test_fifty_scrapes_at_once(served: Served, work: Work) -> None:
    """All are answered, all hold what was committed before them, and they share few polls."""
    before = polls(served.page())
    calls = work.add(7)
    ready = threading.Barrier(50)

    def scrape(_number: int) -> tuple[float, float]:
        ready.wait()
        began = time.monotonic()
        answer = ask(served, SCRAPE)
        page = Exposed(answer.partition(b"\r\n\r\n")[2].decode())
        return page.total(CALLS), time.monotonic() - began

    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(scrape, range(50)))
    assert {total for total, _ in answers} == {calls}
    assert polls(served.page()) - before < 15
    assert max(seconds for _, seconds in answers) < SOON_S


def polls(page: Exposed) -> float:
    """Return how often the source was polled."""
    return page.value("opencode_exporter_polls_total", source=SOURCE, result="ok") or 0


@pytest.mark.slow
def test_stuck_clients_block_nobody(served: Served, work: Work) -> None:
    """Whoever sends nothing, half a request or a byte now and then, or never reads, waits alone."""
    before = served.memory()
    stuck = {
        "silent": b"",
        "half a request": b"GET /metrics HTTP/1.1\r\nX-Slow: ",
        "half a body": post(b"Content-Length: 9000\r\n", b"x"),
        "chunks without end": post(CHUNKED, b"1\r\nx\r\n"),
        "never reads": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40,
    }
    with contextlib.ExitStack() as held:
        clients = [
            (held.enter_context(connect(served)), request)
            for request in stuck.values()
            for _ in range(15)
        ]
        for sock, request in clients:
            sock.sendall(request)
        for number in range(5):
            for sock, _ in clients:
                with contextlib.suppress(OSError):
                    sock.send(b"y")
            began = time.monotonic()
            assert f" {work.add()}.0".encode() in ask(served, SCRAPE)
            assert time.monotonic() - began < SOON_S, number
        assert served.memory() - before < 30_000_000


@pytest.mark.slow
def test_out_of_files(served: Served, work: Work) -> None:
    """Without a file to open it says so on connections that it has, and recovers by itself."""
    counts(served, work.calls)
    with few_files(served, 3), contextlib.ExitStack() as held:
        work.add()
        assert shown(served) == (0, work.calls - 1)
        for _ in range(20):
            held.enter_context(connect(served))  # they wait in the system's queue
        assert "Too many open files" in served.get("/").text
    counts(served, work.calls)
    wait_for(lambda: ask(served, SCRAPE).startswith(b"HTTP/1.1 200 "))


@pytest.mark.slow
def test_process_takes_the_files_that_it_may_have(served: Served) -> None:
    """Its soft limit is raised, as that of a program in Go is."""
    soft, hard = resource.prlimit(served.pid, resource.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536)


@pytest.mark.slow
def test_more_clients_than_files(served: Served, work: Work) -> None:
    """The oldest of too many idle connections make room: scrapes and polls go on."""
    before = served.files()
    with few_files(served, 64), contextlib.ExitStack() as held:
        for number in range(200):
            held.enter_context(connect(served))
            if not number % 50:
                assert f" {work.add()}.0".encode() in ask(served, SCRAPE)
        assert served.files() < 64
        assert f" {work.add()}.0".encode() in ask(served, SCRAPE)
    wait_for(lambda: served.files() <= before + 1)


@contextlib.contextmanager
def few_files(served: Served, most: int) -> Iterator[None]:
    """Limit how many files the process may have open."""
    old = resource.prlimit(served.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(served.pid, resource.RLIMIT_NOFILE, (most, old[1]))
    try:
        yield
    finally:
        resource.prlimit(served.pid, resource.RLIMIT_NOFILE, old)


# How long the stuck ones are borne: the same server in our process, with less patience.


@pytest.mark.parametrize(
    "begun",
    [
        post(b"Content-Length: 9000\r\n"),
        post(CHUNKED),
        b"GET /metrics HTTP/1.1\r\n",
        b"GET /metrics HTTP/1.1\r\nX-Slow: ",
    ],
    ids=["body", "chunks", "headers", "one header"],
)
def test_request_that_trickles_in_is_dropped(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not win more time than there is for a whole request."""
    monkeypatch.setattr(web_protocol._Protocol, "request_timeout_s", 0.4)
    with serving() as server, socket.create_connection(endpoint(server)) as sock:
        sock.sendall(begun)
        wait_for(lambda: is_dropped(sock, b"1"), 5, every=0.05)


def is_dropped(sock: socket.socket, more: bytes) -> bool:
    """Send a little more, and say whether the other side has gone."""
    try:
        sock.sendall(more)
    except ConnectionError:
        return True
    return False


def test_answer_that_is_read_byte_by_byte_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads one byte now and then does not keep a large page in memory."""
    monkeypatch.setattr(web_protocol, "_UNREAD_TIMEOUT_S", 0.4)
    with serving(FakeBackend(b"x" * 30_000_000)) as server:
        connections = server._server.server_state.connections
        with socket.create_connection(endpoint(server), timeout=PATIENCE_S) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(1)
            wait_for(lambda: not connections or not sock.recv(1), 5, every=0.05)
            wait_for(lambda: not connections)
