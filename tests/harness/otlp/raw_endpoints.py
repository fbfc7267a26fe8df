"""
Endpoints that speak below HTTP and gRPC: whatever bytes a test says, as slowly as it says.

Nothing here knows what a test asserts.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import trustme

PAUSE_S = 0.05


@contextmanager
def speaking(
    first: bytes,
    again: bytes = b"",
    *,
    certificate: trustme.LeafCert | None = None,
    pause_s: float = PAUSE_S,
) -> Iterator[int]:
    """
    Listen, and say the same on each connection, until the block ends; return the port.

    Args:
        first: Said once a request has begun to come.
        again: Said after each pause; nothing: the connection ends.
        certificate: What it shows, if it speaks TLS.
        pause_s: The pauses.
    """
    over = threading.Event()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if certificate else None
    if certificate and context:
        certificate.configure_cert(context)

    def speak(conn: socket.socket) -> None:
        conn.recv(1 << 16)
        conn.sendall(first)
        while again and not over.wait(pause_s):
            conn.sendall(again)
        conn.shutdown(socket.SHUT_WR)
        over.wait(1)

    def serve(conn: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as open_ones:
            open_ones.enter_context(conn)
            if context:
                conn = open_ones.enter_context(context.wrap_socket(conn, server_side=True))
            speak(conn)

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = listening.accept()
                threading.Thread(target=serve, args=(conn,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
