"""Calls that end, or are copied, at moments between two reads of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from harness.databases import V1, V2, call
from harness.exporters import Bench
from harness.pages import counted, polled
from opencode_exporter.chunk import Chunk, OpenRow
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.tailer import Tailer


def test_call_that_ends_during_a_poll_is_not_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end and the next step, after the row was read and before later steps are looked for."""
    with V1(bench.source) as db:
        session = db.session()
        part = db.tool(db.message(session), status="running")
        exporter = bench.exporter()
        settle = Tailer.settle

        def meanwhile(
            tailer: Tailer, reader: Reader, open_rows: Iterable[OpenRow]
        ) -> Iterator[Chunk]:
            monkeypatch.undo()
            db.rewrite(part, status="completed")
            db.message(session)
            return settle(tailer, reader, open_rows)

        monkeypatch.setattr(Tailer, "settle", meanwhile)
        polled(exporter)
        assert counted(polled(exporter)) == {("read", "completed"): 1}
        exporter.close()


def test_copy_of_a_pending_call_is_no_call(bench: Bench) -> None:
    """A copy made while the call was pending counts never, though its original was read ended."""
    with V1(bench.source) as db:
        session = db.session()
        part = db.tool(db.message(session), status="pending")
        fork = db.fork(session)
        db.rewrite(part, status="completed")
        exporter = bench.exporter()
        polled(exporter)
        db.message(fork)
        assert counted(polled(exporter)) == {("read", "completed"): 1}
        exporter.close()


def test_ended_copy_of_an_open_call_is_a_copy(bench: Bench) -> None:
    """A fork whose open call was mended counts nothing, also when one poll reads both."""
    error = {"type": "aborted", "message": "Tool execution interrupted: its process died"}
    with V2(bench.source) as db:
        session = db.session()
        db.assistant(session, [call(status="running")], completed=None)
        fork = db.fork(session)
        sql = "SELECT id FROM session_message WHERE session_id = ?"
        db.rewrite(str(db.db.execute(sql, (fork,)).get), [call(status="error", error=error)])
        exporter = bench.exporter()
        assert counted(polled(exporter)) == {}
        db.assistant(session, [])
        assert counted(polled(exporter)) == {("read", "abandoned"): 1}
        exporter.close()
