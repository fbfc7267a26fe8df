"""A real exporter that is told to end, or to reload, in the middle of everything."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import apsw
import httpx
import pytest

from faults.endings import end
from harness.exporters import Bench, Exposed
from harness.processes.command import ANYWHERE
from harness.processes.served import Served
from harness.processes.work import CALLS, SOURCE, Work, counts, serve, shown, working
from harness.waiting import SOON_S, wait_for

LONG: Final = 60_000
READ: Final = "opencode_exporter_rows_read_total"
pytestmark = pytest.mark.slow


def multiply(work: Work, times: int) -> None:
    """Make a long history: the newest part again and again, as calls of their own."""
    database = apsw.Connection(str(work.path))
    database.execute(
        """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT INTO part (id, message_id, session_id, time_created, time_updated, data)
        SELECT part.id || '_' || i, message_id, session_id, time_created, time_updated, data
        FROM n, (SELECT * FROM part ORDER BY rowid DESC LIMIT 1) AS part
        """,
        (times,),
    )
    database.close()
    work.calls += times


def committed(ledger: Path) -> tuple[int, int]:
    """Return the rows that a ledger says were read, and the bytes of its WAL."""
    wal = ledger.with_name("ledger.db-wal")
    database = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    sql = "SELECT coalesce(sum(value), 0) FROM series WHERE metric = ?"
    rows: int = database.execute(sql, (READ,)).get
    database.close()
    return rows, wal.stat().st_size if wal.exists() else 0


def test_ended_within_the_first_read(bench: Bench) -> None:
    """It ends within two seconds, keeps what it has read, and the next start reads the rest."""
    with working(bench) as work:
        multiply(work, LONG)
    with serve(bench) as served:
        wait_for(lambda: 0 < progress(served) < 1, every=0.01)
        assert not served.is_ready()
        assert end(served) < SOON_S
        rows, wal = committed(bench.ledger)
        assert 0 < rows < LONG
        assert not wal  # folded in: nothing is left to be recovered
        served.start()
        wait_for(served.is_ready)
        page = served.page()
    assert page.total(CALLS) == LONG + 1
    assert page.value(READ, source=SOURCE, table="part") == LONG + 1  # none of them twice


def progress(served: Served) -> float:
    """Return how much of the history has been read, without waiting for the poll."""
    page = Exposed(served.get("/metrics", X_Prometheus_Scrape_Timeout_Seconds="0.01").text)
    return page.value("opencode_exporter_history_progress_ratio", source=SOURCE) or 0


def test_ended_within_a_poll(bench: Bench) -> None:
    """A poll of many rows that is cut short loses none of them and counts none twice."""
    with working(bench, 10) as work, serve(bench) as served:
        counts(served, 10)
        multiply(work, 20_000)
        with ThreadPoolExecutor(1) as client:
            asked = client.submit(served.page)
            threading.Event().wait(0.05)  # the poll that it asked for has begun
            assert end(served) < SOON_S
            with contextlib.suppress(httpx.TransportError):
                asked.result()
        served.start()
        counts(served, 20_010)
        assert served.page().value(READ, source=SOURCE, table="part") == 20_010


def test_ended_under_clients_that_hold_on(bench: Bench) -> None:
    """Neither silent clients nor answers that nobody reads delay the end."""
    with working(bench, 10) as work, serve(bench) as served, contextlib.ExitStack() as held:
        counts(served, 10)
        host, port = served.target.split(":")
        for request in (
            b"",
            b"GET /metrics HTTP/1.1\r\nX-Slow: ",
            b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\nx",
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100,
        ):
            for _ in range(5):
                sock = held.enter_context(socket.create_connection((host, int(port))))
                sock.sendall(request)
        calls = work.add(2000)
        assert end(served) < SOON_S
        served.start()
        counts(served, calls)


def test_ended_while_a_password_is_compared(bench: Bench) -> None:
    """Whoever guessed at a dear hash held up the end, for as long as the comparison takes."""
    bench.directory.mkdir(exist_ok=True)
    file = bench.directory / "web.yml"
    file.write_text(f"basic_auth_users: {{ada: $2b$17${'.' * 53}}}")
    (bench.directory / "run").mkdir()
    served = serve(bench, "--web.config.file", str(file))
    served.launch()
    try:
        wait_for(partial(says, served, '"listening"'))
        host, port = served.target.split(":")
        with socket.create_connection((host, int(port))) as client:
            guess = b64encode(b"ada:guess").decode()
            head = f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {guess}\r\n\r\n"
            client.sendall(head.encode())
            assert served.get("/").status_code == 401  # it came later
            assert end(served) < SOON_S
    finally:
        served.close()


def test_ended_by_every_signal_at_once(bench: Bench) -> None:
    """Impatience changes nothing: told ten times, it ends once and well."""
    with working(bench, 10), serve(bench) as served:
        counts(served, 10)
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) * 3:
            served.send(name)
        assert end(served) < SOON_S
        assert "Traceback" not in served.log


def test_reload_that_cannot_be_honoured_is_kept_out(bench: Bench) -> None:
    """A file that is broken, not to be read or gone is told in a sentence; a good one applies."""
    bench.directory.mkdir(exist_ok=True)
    file = bench.directory / "web.yml"
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}")
    with working(bench, 10), serve(bench, "--web.config.file", str(file)) as served:
        counts(served, 10)
        for text, sentence in (
            ("http_server_config: [", "web configuration kept"),
            ("tls_server_config: {cert_file: no.crt, key_file: no.key}", "no.crt"),
            (None, "No such file or directory"),
        ):
            file.unlink() if text is None else file.write_text(text)
            hang_up(served)
            wait_for(partial(says, served, sentence))
            assert served.get("/metrics").headers["x-frame-options"] == "deny"
        file.write_text("http_server_config: {headers: {X-Frame-Options: sameorigin}}")
        hang_up(served)
        wait_for(lambda: served.get("/").headers["x-frame-options"] == "sameorigin")
        assert served.log.count("web configuration kept") == 3
        assert shown(served) == (1, 10)


def says(served: Served, words: str) -> bool:
    """Return whether that was logged."""
    return words in served.log


def test_reload_without_a_file_changes_nothing(bench: Bench) -> None:
    """SIGHUP to a process without a web configuration neither ends nor disturbs it."""
    with working(bench, 10), serve(bench) as served:
        for _ in range(5):
            hang_up(served)
        counts(served, 10)
        assert "Traceback" not in served.log


def test_reload_at_the_start_does_not_end_it(bench: Bench) -> None:
    """SIGHUP before it served ended it, and systemd took that for a good end."""
    ledger = bench.directory / "ledger"
    bench.directory.mkdir(exist_ok=True)
    os.mkfifo(file := bench.directory / "web.yml")
    words = ("--ledger.path", str(ledger), "--web.config.file", str(file), *ANYWHERE)
    with subprocess.Popen(
        [sys.executable, "-m", "opencode_exporter", "serve", *words], stderr=subprocess.PIPE
    ) as process:
        try:
            wait_for(ledger.exists)  # it waits for somebody to write its configuration
            process.send_signal(signal.SIGHUP)
            file.write_text("")
            said = process.stderr
            assert said is not None
            wait_for(lambda: b"listening" in said.readline())
        finally:
            process.kill()


def hang_up(served: Served) -> None:
    """Send SIGHUP."""
    served.send(signal.SIGHUP)
