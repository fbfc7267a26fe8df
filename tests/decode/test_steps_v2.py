"""Steps and remarks of 2.x are what the independent computation reads in the same rows."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from contract.oracle import edits, model, reading, runs
from harness.recordings import unpack
from opencode_exporter.decode.languages import language_of
from opencode_exporter.decode.opencode.origins import V1, V2
from opencode_exporter.decode.opencode.v2.rows import ROW_TYPES, decode
from opencode_exporter.decode.opencode.v2.shapes import SessionMessageRow
from opencode_exporter.events import (
    Event,
    FileChange,
    Invocation,
    Remark,
    Session,
    Step,
    StepCall,
    Tokens,
)

NOW: Final = 1_795_500_000_000
NAMES: Final = ("2.0.15", "turns-2.0.15", "upgrade-1.18.33-2.0.15", "turns-upgrade-1.18.33-2.0.15")


def rows_of(path: Path) -> list[tuple[SessionMessageRow, Session]]:
    """Return the rows of a database, with their sessions."""
    db = apsw.Connection(str(path))
    sql = "SELECT id, time_created, directory FROM session_v2"
    sessions = {
        key: Session(key, "project", created, directory=directory)
        for key, created, directory in db.execute(sql)
    }
    sql = "SELECT session_id, id, type, time_created, time_updated, data FROM session_message"
    found = [
        (SessionMessageRow(key, kind, created, updated, data.encode()), sessions[session])
        for session, key, kind, created, updated, data in db.execute(sql)
    ]
    db.close()
    return found


def read_independently(path: Path) -> dict[str, model.Row]:
    """Return the same rows by message, as the independent computation reads them."""
    db = apsw.Connection(str(path))
    rows: reading.Rows = defaultdict(dict)
    reading._v2(db, rows)
    db.close()
    return {key: row for session in rows.values() for key, row in session.items()}


def last(row: SessionMessageRow, session: Session) -> Event:
    """Return the event that a row's others precede."""
    return decode(row, session, NOW).events[-1]


def usage(row: model.Row) -> dict[str, Any]:
    """Return what a row used, by field."""
    return {
        "provider": row.provider,
        "model": row.model,
        "tokens": Tokens(**row.tokens),
        "cost": round(row.cost * 10**10),
    }


def step_fields(row: model.Row) -> dict[str, Any]:
    """Return what the fields of a step have to be."""
    return usage(row) | {
        "message": row.message,
        "origin": V1 if row.generation == "v1" else V2,
        "created": row.created,
        "is_over": row.completed is not None,
        "completed": row.completed or 0,
        "streamed": row.streamed or 0,
        "agent": row.agent,
        "finish": row.finish,
        "error": row.error,
        "retries": row.retries,
        "is_summary": row.summary,
        "is_note": False,
    }


def remark_fields(row: model.Row) -> dict[str, Any]:
    """Return what the fields of a remark have to be."""
    used = usage(row) if row.compaction else {}
    return used | {
        "message": row.message,
        "origin": V1 if row.generation == "v1" else V2,
        "created": row.created,
        "kind": row.kind,
        "role": row.role,
        "agent": row.agent,
        "outcome": row.outcome,
        "compaction": row.compaction,
        "skills": row.skills,
    }


def call_fields(found: model.Call) -> dict[str, Any]:
    """Return what the fields of a step's call have to be."""
    return {
        "tool": found.tool,
        "status": None if found.status == "abandoned" and not found.ended else found.status,
        "vouched": found.vouched,
        "skill": found.skill if found.loads else "",
        "started": found.started or 0,
        "ended": found.ended or 0,
        "failed": found.failed,
        "refused": found.refused,
        "child": found.child,
        "inner": found.nested,
    }


def those(event: object, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the same fields of an event."""
    return {name: getattr(event, name) for name in fields}


def changed(files: tuple[FileChange, ...]) -> tuple[Counter[Any], Counter[Any]]:
    """Return operations and lines by language."""
    lines: Counter[Any] = Counter()
    for file in files:
        lines["added", file.language] += file.added
        lines["removed", file.language] += file.removed
    return Counter((file.operation, file.language) for file in files), +lines


def assert_same_call(found: StepCall, expected: model.Call, session: Session) -> None:
    """A step's call says what the independent computation says of it."""
    fields = call_fields(expected)
    if expected.status == "abandoned":  # open, or given up by 2.x itself
        fields["status"] = found.status if found.status == "abandoned" else None
    assert those(found, fields) == fields
    about = model.Session(session.id, 0, "", session.directory)
    about.rows = [model.Row("step", "msg", 0, 0, "v2", calls=[expected])]
    theirs = edits.operations(about, language_of), edits.lines(about, language_of)
    assert changed(found.files) == theirs


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_row_is_the_step_or_remark_that_it_should_be(
    name: str, tmp_path: Path
) -> None:
    """Field by field, call by call, and no target stands for two things."""
    path = unpack(name, tmp_path)
    expected = read_independently(path)
    targets: set[tuple[int, str]] = set()
    kinds: Counter[str] = Counter()
    for row, session in rows_of(path):
        if row.type not in ROW_TYPES:
            continue
        theirs, event = expected[row.id], last(row, session)
        kinds[theirs.kind] += 1
        assert isinstance(event, Step | Remark)
        assert event.where == session.kept()
        assert event.session == session.id
        assert event.suspect == (row.created < session.created)
        if isinstance(event, Remark):
            assert those(event, remark_fields(theirs)) == remark_fields(theirs)
            continue
        assert those(event, step_fields(theirs)) == step_fields(theirs)
        for mine, other in zip(event.calls, theirs.calls, strict=True):
            assert_same_call(mine, other, session)
            names = runs.targets(other, session.directory)
            targets.update(zip(mine.targets, names, strict=True))
    assert min(kinds["step"], kinds["human"], kinds["idle"]) > 0
    assert len({number for number, _ in targets}) == len({text for _, text in targets})
    assert len(targets) == len({text for _, text in targets}) > 0


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_other_types_say_nothing(name: str, tmp_path: Path) -> None:
    """What is left out is a note without anything to count, for the other side as well."""
    path = unpack(name, tmp_path)
    expected = read_independently(path)
    for row, _ in rows_of(path):
        if row.type not in ROW_TYPES:
            note = expected[row.id]
            assert (note.kind, note.role, note.skills, note.cost) == ("note", "", (), 0)


@pytest.mark.parametrize("name", NAMES)
def test_steps_come_after_their_invocations_and_agree_with_them(name: str, tmp_path: Path) -> None:
    """A step's calls, with those inside them, are the row's invocations, in their order."""
    for row, session in rows_of(unpack(name, tmp_path)):
        if row.type == "assistant":
            *calls, step = decode(row, session, NOW).events
            assert isinstance(step, Step)
            shown: list[tuple[str, str | None]] = []
            for one in step.calls:
                shown += [(one.tool, one.status), *one.inner]
            counted = [(one.tool, one.status) for one in calls if isinstance(one, Invocation)]
            assert shown == counted


@pytest.mark.parametrize("name", NAMES)
def test_recorded_rows_that_are_read_leniently_say_the_same(name: str, tmp_path: Path) -> None:
    """One odd piece makes the typed decoder refuse a row, and changes nothing of the rest."""
    for row, session in rows_of(unpack(name, tmp_path)):
        if row.type in ROW_TYPES:
            data = json.loads(row.data)
            data["content"] = [*data.get("content", []), {"type": "text", "text": 5, "id": 7}]
            odd = row._replace(data=json.dumps(data).encode())
            assert decode(odd, session, NOW) == decode(row, session, NOW)
