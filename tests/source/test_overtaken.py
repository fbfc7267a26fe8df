"""OpenCode goes on writing, deleting and reusing rowids while a poll reads: nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from harness.databases import V1, V2, call
from harness.exporters import Bench, exposed
from harness.processes.opencode_writer import Neighbour
from opencode_exporter.service import read_ahead, source_poll
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.source.opencode import tailer
from opencode_exporter.source.opencode.tables import part_v1, stream_v1
from opencode_exporter.source.opencode.tables.message_v1 import StepTable
from opencode_exporter.source.opencode.tables.part_v1 import PartTable

COUNT = "opencode_tool_invocations_total"
EDITS = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 31000)
    INSERT INTO part (id, message_id, session_id, time_created, time_updated, data)
    SELECT 'prt_' || i, message.id, message.session_id, part.time_created, part.time_updated,
        json_set(part.data, '$.tool', 'edit', '$.callID', 'call_' || i)
    FROM n, (SELECT * FROM part WHERE rowid = 1) AS part, message
    WHERE message.id = '{message}'
"""


def fill(database: V1 | V2, tool: str, count: int) -> str:
    """Write a session with some steps of one call each, and return it."""
    session = database.session()
    for _ in range(count):
        if isinstance(database, V2):
            database.assistant(session, [call(name=tool)])
        else:
            database.tool(database.message(session), tool=tool)
    return session


def counts(exporter: Exporter) -> dict[str, int]:
    """Return how many calls of each tool have been counted."""
    found = exposed(exporter).by(COUNT, "tool")
    return {tool: int(count) for (tool,), count in found.items()}


def once_after_a_chunk(exporter: Exporter, act: Callable[[], None]) -> None:
    """Let something happen in the source when the first chunk has been taken in."""
    apply = exporter.ledger.apply
    done: list[bool] = []

    def overtaken(source: str, chunk: Any) -> None:
        apply(source, chunk)
        if chunk.rows and not done:
            done.append(True)
            act()

    exporter.ledger.apply = overtaken  # type: ignore[method-assign]


@pytest.mark.parametrize("generation", [V1, V2])
def test_rowids_given_again_within_a_poll(
    generation: type[V1 | V2], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that take the rowids of deleted ones below the place of reading are read."""
    monkeypatch.setattr(tailer, "CHUNK_ROWS", 10)
    with generation(bench.source) as database:
        fill(database, "read", 5)
        newest = fill(database, "grep", 25)
        exporter = bench.exporter()

        def delete_and_write() -> None:
            database.delete_session(newest)
            fill(database, "edit", 40)

        once_after_a_chunk(exporter, delete_and_write)
        exporter.poll()
        exporter.poll()
        found = counts(exporter)
        assert 0 < found.pop("grep") < 25  # what was read before it went
        assert found == {"read": 5, "edit": 40}
        exporter.close()


@pytest.mark.slow
@pytest.mark.parametrize("table", [StepTable, PartTable])
def test_row_committed_between_two_statements_of_a_chunk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, table: type[StepTable | PartTable]
) -> None:
    """A chunk sees one state of the database: the cursor passes no row that was not read."""
    with V1(bench.source) as database:
        message = database.message(database.session())
        exporter = bench.exporter()
        if table is PartTable:  # it reads what comes after its message
            exporter.poll()
        for _ in range(3):
            database.tool(message, tool="read")
        parsed = table_module(table).parse_part

        def interrupted(data: object) -> Any:
            database.tool(message, tool="edit")
            fill(database, "edit", 1)
            return parsed(data)

        with monkeypatch.context() as patch:
            # As if the end of what there is were not known: the window is open above.
            patch.setattr(table, "last_rowid", lambda self: 1_000)
            patch.setattr(table_module(table), "parse_part", interrupted)
            exporter.poll()
        exporter.poll()
        written = database.db.execute(
            "SELECT count(*) FROM part WHERE json_extract(data, '$.tool') = 'edit'"
        ).get
        assert written >= 6
        assert counts(exporter) == {"read": 3, "edit": written}
        exporter.close()


def table_module(table: type[StepTable | PartTable]) -> ModuleType:
    """Return the module that reads the parts of a table's rows."""
    return stream_v1 if table is StepTable else part_v1


@pytest.mark.slow
def test_rowids_given_again_while_others_read_ahead(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read ahead of a deletion is not trusted beyond it: the new rows are read."""
    monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1_000)
    # They read some windows ahead and no more, so that most are read after the deletion,
    # and those few lie where the anchors have become sparse.
    monkeypatch.setattr(read_ahead, "_PIPE_BYTES", 4_096)
    monkeypatch.setattr(read_ahead, "_WINDOW_ROWS", 50)
    with V1(bench.source) as database, database.db:
        fill(database, "read", 100)
        message = database.message(database.session())
        newest = fill(database, "grep", 20_000)
    with Neighbour(bench.source) as opencode:
        opencode.ask("sql", "UPDATE session SET title = 'live'")  # there is a WAL
        exporter = bench.exporter()
        once_after_a_chunk(
            exporter,
            lambda: opencode.ask(
                "sql", f"DELETE FROM session WHERE id = '{newest}'", EDITS.format(message=message)
            ),
        )
        exporter.poll()
        monkeypatch.undo()
        exporter.poll()
        found = counts(exporter)
        assert (found["read"], found["edit"]) == (100, 31_000)
        exporter.close()
