"""
A crowd before the server: clients that want its place, its memory or its time, and give up never.

Runs as a process of its own, so that it takes no time from whoever asks honestly:
``python crowd.py PORT TLS KIND...`` with TLS 0 or 1 and kinds such as ``idle:1200``.
Says how many of its connections there have been, at each line of standard input, and ends
with that.  Nothing here knows what a test asserts.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

REQUEST: Final = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
PIPELINED: Final = 2000
MADE: Final[Counter[str]] = Counter()
NUMBERS: Final = itertools.count()
TRUSTING: Final = ssl._create_unverified_context()  # noqa: S323  # our own server

Place = tuple[str, int, ssl.SSLContext | None]


def wrong(number: int) -> bytes:
    """Return a request with a password that nobody gave before."""
    given = base64.b64encode(f"ada:guess {number}".encode())
    return REQUEST + b"Authorization: Basic " + given + b"\r\nConnection: close\r\n\r\n"


async def idle(place: Place) -> None:
    """Connect, say nothing, and stay."""
    host, port, _ = place
    reader, writer = await asyncio.open_connection(host, port)
    MADE["idle"] += 1
    try:
        await reader.read()
    finally:
        writer.transport.abort()


async def unread(place: Place) -> None:
    """Ask for page after page, and take none."""
    host, port, tls = place
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(sock, (host, port))
        _reader, writer = await asyncio.open_connection(
            sock=sock, ssl=tls, server_hostname="localhost" if tls else None, limit=1
        )
    except BaseException:
        sock.close()
        raise
    MADE["unread"] += 1
    try:
        writer.write((REQUEST + b"\r\n") * PIPELINED)
        await writer.wait_closed()
    finally:
        writer.transport.abort()


async def guess(place: Place) -> None:
    """Try a password, and take the answer."""
    host, port, tls = place
    reader, writer = await asyncio.open_connection(
        host, port, ssl=tls, server_hostname="localhost" if tls else None
    )
    MADE["wrong"] += 1
    try:
        writer.write(wrong(next(NUMBERS)))
        answer = await reader.read()
        MADE[answer[9:12].decode()] += 1
    finally:
        writer.transport.abort()


KINDS: Final[dict[str, Callable[[Place], Awaitable[None]]]] = {
    "idle": idle,
    "unread": unread,
    "wrong": guess,
}


async def insist(kind: str, place: Place) -> None:
    """Come again whenever it is over."""
    while True:
        try:
            await KINDS[kind](place)
        except (OSError, EOFError):
            MADE[f"{kind} refused"] += 1
            await asyncio.sleep(0.05)


async def main(port: int, *, tls: bool, kinds: dict[str, int]) -> None:
    """Be a crowd until standard input ends."""
    place = ("127.0.0.1", port, TRUSTING if tls else None)
    tasks = [
        asyncio.create_task(insist(kind, place))
        for kind, count in kinds.items()
        for _ in range(count)
    ]
    print("here", flush=True)  # noqa: T201
    while await asyncio.to_thread(sys.stdin.readline):
        print(dict(MADE), flush=True)  # noqa: T201
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    counted = (word.split(":") for word in sys.argv[3:])
    asyncio.run(
        main(
            int(sys.argv[1]),
            tls=sys.argv[2] == "1",
            kinds={kind: int(count) for kind, count in counted},
        )
    )
