"""The command `report`: what it prints where, what it leaves out, and what it leaves alone."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from contract.oracle.reading import read
from harness.exporters import Exposed
from harness.processes.command import Place
from harness.recordings import unpack

pytestmark = pytest.mark.slow


@pytest.fixture
def recorded(tmp_path: Path) -> Place:
    """A home whose source is a recording of turns by OpenCode 2.0.15."""
    place = Place(tmp_path)
    unpack("turns-2.0.15", place.source.parent)
    return place


def told(place: Place, *words: str) -> dict[str, Any]:
    """Return what the command says as JSON."""
    done = place.run("report", "--source.path", str(place.source), "--format=json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_json_of_the_command_is_what_is_exposed(recorded: Place) -> None:
    """The figures are those of the metrics that `once` prints for the same database."""
    found = told(recorded)
    exposed = Exposed(recorded.run("once", "--source.path", str(recorded.source)).stdout)
    totals = found["totals"]
    assert totals["invocations"]["total"] == exposed.total("opencode_tool_invocations_total") > 0
    assert totals["skill_loads"]["total"] == exposed.total("opencode_skill_invocations_total") > 0
    assert totals["turns"]["total"] == exposed.total("opencode_turns_total") > 0
    assert totals["steps"] == exposed.total("opencode_steps_total") > 0
    assert totals["tokens"]["total"] == exposed.total("opencode_tokens_total") > 0
    assert totals["cost_usd"] == pytest.approx(exposed.total("opencode_cost_usd_total"), abs=1e-6)
    runs = sum(skill["runs"]["outcomes"]["total"] for skill in found["skills"])
    assert runs == exposed.total("opencode_skill_runs_total") > 0
    attempts = sum(cell["attempts"]["total"] for cell in found["edit_formats"])
    assert attempts == exposed.total("opencode_edit_attempts_total") > 0


def test_piped_page_is_plain_and_100_columns_wide(recorded: Place) -> None:
    """Without a terminal there are no control codes, and the width is 100 or COLUMNS."""
    words = ("report", "--source.path", str(recorded.source))
    done = recorded.run(*words, COLUMNS="", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout)
    assert 80 < max(map(cell_len, done.stdout.splitlines())) <= 100
    narrow = recorded.run(*words, COLUMNS="72", PYTHONIOENCODING="utf-8")
    assert max(map(cell_len, narrow.stdout.splitlines())) <= 72


def test_page_is_ascii_where_nothing_else_can_be_printed(recorded: Place) -> None:
    """An output that knows no block characters gets bars and rules of plain characters."""
    words = ("report", "--source.path", str(recorded.source), "--top=3")
    done = recorded.run(*words, COLUMNS="", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "?" not in done.stdout
    assert "########" in done.stdout
    assert "... and " in done.stdout


def test_report_leaves_nothing_behind(recorded: Place) -> None:
    """Neither a ledger nor a change to the database remains."""
    ledger = recorded.home / ".local" / "state" / "opencode-exporter" / "ledger.db"
    ledger.parent.mkdir(parents=True)
    ledger.write_bytes(b"counted since long ago")
    before = {path.name: path.read_bytes() for path in recorded.source.parent.iterdir()}
    told(recorded)
    assert list(ledger.parent.iterdir()) == [ledger]
    assert ledger.read_bytes() == b"counted since long ago"
    after = {path.name: path.read_bytes() for path in recorded.source.parent.iterdir()}
    assert after["opencode.db"] == before["opencode.db"]
    assert [path for path in recorded.home.rglob("*") if path.is_file()] == [ledger]


def test_missing_database_is_a_sentence_on_stderr(tmp_path: Path) -> None:
    """Nothing is printed on stdout and the exit code is 1."""
    place = Place(tmp_path)
    done = place.run("report", "--source.path", str(place.source))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("opencode-exporter: opencode.db: there is no database: start OpenCode")


def test_one_of_two_databases_is_reported_and_the_other_named(recorded: Place) -> None:
    """What can be read is on the page, what cannot on stderr, and the exit code is 1."""
    other = recorded.source.with_name("other.db")
    paths = os.pathsep.join([str(recorded.source), str(other)])
    done = recorded.run("report", "--format=json", OPENCODE_EXPORTER_SOURCE_PATH=paths)
    assert done.returncode == 1
    assert "other.db: there is no database" in done.stderr
    assert [one["up"] for one in json.loads(done.stdout)["sources"]] == [True, False]


def test_top_is_for_the_page_alone(recorded: Place) -> None:
    """JSON has every row, however many a table may show."""
    assert told(recorded, "--top=1")["tools"] == told(recorded)["tools"]
    done = recorded.run("report", "--source.path", str(recorded.source), "--top=1")
    assert done.stdout.count("more (--top)") >= 3


def started(place: Place) -> Iterator[int]:
    """Yield when the calls of a database started, by an independent reading."""
    for session in read(place.source):
        for call in session.calls:
            yield from [call.started or 0] * len(call.counted)


def test_since_leaves_out_what_happened_before(recorded: Place) -> None:
    """Of the calls only those count that started at that time or later."""
    whole = told(recorded, "--abandon-after=1ms")
    times = sorted(started(recorded))
    assert whole["totals"]["invocations"]["total"] == len(times)
    middle = times[len(times) // 2] // 1000 + 1
    found = told(
        recorded, "--abandon-after=1ms", "--since", datetime.fromtimestamp(middle, UTC).isoformat()
    )
    later = sum(at >= middle * 1000 for at in times)
    assert 0 < found["totals"]["invocations"]["total"] == later < len(times)
    assert 0 < found["totals"]["turns"]["total"] < whole["totals"]["turns"]["total"]
    assert found["period"]["first_skill_load"] >= found["since"]


@pytest.mark.parametrize("since", ["7000d", "2026-11-01", "2026-11-01T10:30:00+02:00"])
def test_since_takes_durations_and_dates(since: str, recorded: Place) -> None:
    """A beginning before the recording leaves out nothing, however it is written."""
    found = told(recorded, "--since", since)
    assert found["totals"] == told(recorded)["totals"]
    assert found["since"]


def test_since_now_leaves_out_everything(recorded: Place) -> None:
    """Nothing of a recording happened within the last millisecond."""
    found = told(recorded, "--since=1ms")
    assert (found["totals"]["steps"], found["skills"], found["tools"]) == (0, [], [])


@pytest.mark.parametrize("since", ["yesterday", "7", "2026-13-01"])
def test_since_that_is_not_understood_exits_2(since: str, recorded: Place) -> None:
    """The sentence says what would be."""
    done = recorded.run("report", "--since", since)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is neither a duration nor a date: write for example 7d, 24h" in done.stderr


def test_project_leaves_out_all_others(recorded: Place) -> None:
    """The own project has all of it, one that is nowhere nothing; a hash hides no totals."""
    exposed = Exposed(recorded.run("once", "--source.path", str(recorded.source)).stdout)
    sessions = exposed.by("opencode_sessions_total", "project")
    (name,), most = sessions.most_common(1)[0]
    found = told(recorded, "--project", name)
    assert (found["project"], found["totals"]["sessions"]) == (name, most)
    hashed = told(recorded, "--project", name, "--labels.project=hash")
    assert hashed["totals"] == found["totals"]
    nothing = told(recorded, "--project", "nowhere")
    assert (nothing["totals"]["sessions"], nothing["totals"]["invocations"]["total"]) == (0, 0)
