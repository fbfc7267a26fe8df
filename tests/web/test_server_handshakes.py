"""Connections of real sockets count from the first moment on, and have deadlines behind TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trustme

from harness.waiting import PATIENCE_S, SOON_S, wait_for
from harness.web_server import FakeBackend, client_of, endpoint, get_raw, serving
from opencode_exporter.web import http_server as web_protocol
from opencode_exporter.web import listener as web_listener
from opencode_exporter.web.app import WebServer


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
    """Return whether the other side has gone."""
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
