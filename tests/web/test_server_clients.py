"""Clients that misbehave, and the end of the server under all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme

from harness.waiting import PATIENCE_S, SOON_S
from harness.web_server import (
    FakeBackend,
    client_of,
    endpoint,
    get_raw,
    raw_exchange,
    serving,
)
from opencode_exporter.web import http_server as web_protocol
from opencode_exporter.web.app import WebServer


def test_small_body_is_ignored_and_large_one_refused() -> None:
    """No page reads a body; one over 16 KB gets 413, and the connection still works."""
    with serving() as server, client_of(server) as client:
        assert client.request("GET", "/metrics", content=b"x" * 1000).status_code == 200
        assert client.request("GET", "/metrics", content=b"x" * 16_385).status_code == 413
        assert client.request("GET", "/metrics", content=b"x" * 2_000_000).status_code == 413
        assert client.request("GET", "/metrics", content=iter([b"x"])).status_code == 411
        assert client.get("/metrics").status_code == 200


def test_malformed_and_oversized_requests_are_refused() -> None:
    """Garbage and endless headers end the connection, not the server."""
    with serving() as server:
        assert b" 400 " in raw_exchange(server, b"garbage\r\n\r\n")
        endless = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 200_000
        assert b" 200 " not in raw_exchange(server, endless)
        assert get_raw(server, "/metrics") == 200


def test_offered_upgrade_is_answered_in_http_1(caplog: pytest.LogCaptureFixture) -> None:
    """Curl --http2 offers an upgrade with each request: it is served, without log lines."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "h2c"}
    with serving() as server, client_of(server) as client:
        assert client.get("/metrics", headers=upgrade).status_code == 200
        assert client.get("/", headers={**upgrade, "Upgrade": "websocket"}).status_code == 200
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.slow
def test_silent_and_slow_clients_block_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that send nothing or half a request are dropped; others are served meanwhile."""
    monkeypatch.setattr(web_protocol._Protocol, "request_timeout_s", 0.4)
    with serving() as server, client_of(server) as client:
        connected = [
            socket.create_connection(endpoint(server), timeout=PATIENCE_S) for _ in range(20)
        ]
        for sock in connected[::2]:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        assert client.get("/metrics").status_code == 200
        assert [_read_until_closed(sock) for sock in connected] == [b""] * 20


def test_request_never_finished_on_a_used_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline holds for the second request of a connection too."""
    monkeypatch.setattr(web_protocol._Protocol, "request_timeout_s", 0.3)
    with serving() as server:
        begun = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\nGET /-/hea"
        assert raw_exchange(server, begun + b"lthy HTTP").count(b" 200 ") == 1


def _read_until_closed(sock: socket.socket) -> bytes:
    with sock:
        try:
            return sock.recv(1024)
        except ConnectionResetError:
            return b""


def _seconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def test_shutdown_is_prompt_while_clients_hold_on(caplog: pytest.LogCaptureFixture) -> None:
    """Idle, silent and waiting connections together delay the end by less than a second."""
    backend = FakeBackend()
    server = WebServer(
        backend, addresses=["127.0.0.1:0"], telemetry_path="/metrics", web_config=None
    )
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    with client_of(server) as client, socket.create_connection(endpoint(server)) as waiting:
        assert client.get("/metrics").status_code == 200
        backend.hang = True
        backend.entered.clear()
        waiting.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert backend.entered.wait(PATIENCE_S)
        server.stop()
        assert _seconds(lambda: thread.join(PATIENCE_S)) < SOON_S
        assert not thread.is_alive()
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.urls[0], trust_env=False)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_stop_before_it_serves_is_not_forgotten() -> None:
    """A server that was told to end before it began ends, and again is not too often."""
    server = WebServer(
        FakeBackend(), addresses=["127.0.0.1:0"], telemetry_path="/m", web_config=None
    )
    server.stop()
    assert _seconds(lambda: asyncio.run(asyncio.wait_for(server.serve(), PATIENCE_S))) < SOON_S
    server.stop()


def test_cancelled_server_frees_its_port() -> None:
    """A service that cancels the task can bind the same port again."""

    async def run() -> tuple[str, int]:
        server = WebServer(
            FakeBackend(), addresses=["127.0.0.1:0"], telemetry_path="/m", web_config=None
        )
        task = asyncio.create_task(server.serve())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return endpoint(server)

    host, port = asyncio.run(run())
    with serving(addresses=[f"{host}:{port}"]) as server:
        assert endpoint(server) == (host, port)


def test_signal_handlers_are_left_alone() -> None:
    """Signals belong to the service: serving in the main thread changes none of them."""
    seen: list[object] = []

    async def run() -> None:
        server = WebServer(
            FakeBackend(), addresses=["127.0.0.1:0"], telemetry_path="/m", web_config=None
        )
        task = asyncio.create_task(server.serve())
        await asyncio.to_thread(get_raw, server, "/m")
        seen.append(signal.getsignal(signal.SIGTERM))
        server.stop()
        await task

    before = signal.getsignal(signal.SIGTERM)
    asyncio.run(run())
    assert seen == [before]


def test_shutdown_is_prompt_while_tls_clients_hold_on(tmp_path: Path) -> None:
    """A TLS client that never answers the goodbye delays nothing either."""
    leaf = trustme.CA().issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    path = tmp_path / "web.yml"
    path.write_text("tls_server_config: {cert_file: both.pem, key_file: both.pem}")
    trusting_all = ssl._create_unverified_context()  # noqa: S323 - our own server
    with contextlib.ExitStack() as clients:
        with serving(web_config=path) as server:
            silent = clients.enter_context(
                socket.create_connection(endpoint(server), timeout=PATIENCE_S)
            )
            sock = clients.enter_context(trusting_all.wrap_socket(silent))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 200"
            began = time.monotonic()
        assert time.monotonic() - began < SOON_S


def test_client_that_never_reads_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes does not stay in memory for ever."""
    monkeypatch.setattr(web_protocol, "_UNREAD_TIMEOUT_S", 0.2)
    with serving(FakeBackend(b"x" * 30_000_000)) as server:
        connections = server._server.server_state.connections
        with socket.create_connection(endpoint(server), timeout=PATIENCE_S) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            _wait_for(lambda: bool(connections))
            _wait_for(lambda: not connections)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
