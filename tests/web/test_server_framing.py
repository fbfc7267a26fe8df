"""Where a request ends: what could end in two places is refused, and nothing follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.web_server import FakeBackend, hashed, raw_exchange, serving
from opencode_exporter.web.app import WebServer

NEXT = b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
"""A request that another server may have taken for the body of the one before it."""
END = b"0\r\n\r\n"
BOTH = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"


def post(headers: bytes, body: bytes, version: bytes = b"1.1", host: bytes = b"localhost") -> bytes:
    """Return a request with headers that say how long its body is, and the next one."""
    head = b"POST /metrics HTTP/" + version + b"\r\nHost: " + host + b"\r\n"
    return head + headers + b"\r\n" + body + NEXT


AMBIGUOUS = {
    "both": post(BOTH, END),
    "both, the other way round": post(
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"4\r\nabcd\r\n" + END
    ),
    "both, in HTTP/1.0": post(b"Connection: keep-alive\r\n" + BOTH, END, b"1.0"),
    "chunks in HTTP/1.0": post(
        b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", END, b"1.0"
    ),
    "two lengths": post(b"Content-Length: 4\r\nContent-Length: 5\r\n", b"abcde"),
    "two lengths in one": post(b"Content-Length: 4, 5\r\n", b"abcde"),
    "a length with a sign": post(b"Content-Length: +5\r\n", b"abcde"),
    "a length below zero": post(b"Content-Length: -1\r\n", b""),
    "a length in hex": post(b"Content-Length: 0x5\r\n", b"abcde"),
    "a length that is none": post(b"Content-Length: \r\n", b""),
    "a folded length": post(b"Content-Length: 4\r\n 5\r\n", b"abcde"),
    "a space before the colon": post(b"Content-Length : 5\r\n", b"abcde"),
    "a bare CR": post(b"X: a\rContent-Length: 5\r\n", b"abcde"),
    "a bare CR at the end": post(b"Content-Length: 5\r\r\n", b"abcde"),
    "a NUL": post(b"Content-Length: 5\0\r\n", b"abcde"),
    "identity and chunks": post(b"Transfer-Encoding: identity, chunked\r\n", END),
    "chunks and identity": post(b"Transfer-Encoding: chunked, identity\r\n", END),
    "chunks twice": post(b"Transfer-Encoding: chunked, chunked\r\n", END),
    "two encodings": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", END),
    "gzip": post(b"Transfer-Encoding: gzip, chunked\r\n", END),
    "nearly chunks": post(b"Transfer-Encoding: xchunked\r\n", END),
    "no encoding": post(b"Transfer-Encoding: \r\n", END),
    "chunks behind a tab": post(b"Transfer-Encoding:\x0bchunked\r\n", END),
    "no colon": post(b"Content-Length 5\r\n", b"abcde"),
    "chunks of no length": post(b"Transfer-Encoding: chunked\r\n", b"\r\n" + END),
    "chunks of a signed length": post(b"Transfer-Encoding: chunked\r\n", b"+1\r\na\r\n" + END),
    "chunks with another end": post(b"Transfer-Encoding: chunked\r\n", b"1\r\naXX" + END),
}
"""Each of them ends elsewhere for one server than for another."""


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of the answers on a connection."""
    return [int(part.split()[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def check(server: WebServer, name: str, request: bytes) -> None:
    """See that a request is refused, and that what follows it is not taken for one."""
    found = statuses(raw_exchange(server, request))
    assert len(found) == 1, (name, found)
    assert found[0] // 100 == 4 or found == [501], (name, found)


def test_what_could_end_in_two_places_ends_the_connection() -> None:
    """
    The next request is not answered: for somebody else it was a body (RFC 9112, 6.1 and 6.3).

    A length beside chunks was answered, and the connection went on.
    """
    backend = FakeBackend()
    with serving(backend) as server:
        for name, request in AMBIGUOUS.items():
            check(server, name, request)
    assert backend.asked == []


@pytest.mark.parametrize(
    "more",
    ["basic_auth_users: {{ada: {hashed}}}", "rate_limit: {{interval: 1h, burst: 1}}"],
    ids=["password", "rate"],
)
def test_no_other_refusal_keeps_the_connection(more: str, tmp_path: Path) -> None:
    """Also where the password, the rate or the name would be refused first, it ends."""
    path = tmp_path / "web.yml"
    path.write_text(more.format(hashed=hashed("pw")))
    with serving(web_config=path) as server:
        for host in (b"localhost", b"evil.example"):
            for _ in range(2):
                check(server, more, post(BOTH, END, host=host))


def test_what_has_one_end_goes_on() -> None:
    """Lengths that agree, and chunks alone, leave no doubt: the next request is answered."""
    with serving() as server:
        for headers, body, status in (
            (b"Content-Length: 5\r\n", b"abcde", 405),
            (b"Content-Length: 5\r\nContent-Length: 5\r\n", b"abcde", 405),
            (b"Transfer-Encoding: Chunked\r\n", b"5;x=y\r\nabcde\r\n0\r\nA: b\r\n\r\n", 411),
            (b"Transfer-Encoding:\r\n chunked\r\n", END, 411),
        ):
            assert statuses(raw_exchange(server, post(headers, body))) == [status, 200], headers
