"""The report as it is read: the page at any width, piped or not, and the command."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from command import Place
from hand_made import NOON_MS, snapshot
from opencode_exporter import catalog as c
from opencode_exporter.report import Asked, Report, figures, render
from oracle.reading import read
from support import Exposed, unpack

SECTIONS = [
    "Skills",
    "Installed but not used",
    "Skill runs",
    "Tools",
    "Edit formats by model",
    "Files by language",
    "Models",
    "Transitions between skills",
    "Skills by agent",
]
REPORT = figures(snapshot(), Asked(NOON_MS))
EMPTY = figures({}, Asked(NOON_MS))


def page(report: Report = REPORT, *, width: int = 100, top: int = 10, **console: Any) -> str:
    """Return a report as a console shows it."""
    shown = Console(width=width, file=io.StringIO(), highlight=False, **console)
    return render(report, shown, top=top)


def section(text: str, title: str) -> list[str]:
    """Return the lines of a section."""
    return text.split(f"\n{title}\n")[1].split("\n\n")[0].splitlines()


def row(text: str, title: str, name: str) -> list[str]:
    """Return the cells of a section's row, the name left out."""
    found = next(line for line in section(text, title) if line.startswith(name))
    return re.split(r"  +", found.removeprefix(name).strip())


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


# The page.


def test_sections_come_in_order() -> None:
    """After the headline come all sections, each under its title."""
    lines = page().splitlines()
    assert lines[0] == "OpenCode report"
    assert [line for line in lines if line in SECTIONS] == SECTIONS


def test_page_shows_the_figures() -> None:
    """The numbers of the page are those of the JSON, in units for people."""
    text = page()
    assert row(text, "Skills", "pdf") == [
        *("25", "████████", "94.7 %", "31 ms", "43.7 min", "1", "2", "1", "3", "11", "7"),
    ]
    assert row(text, "Skill runs", "pdf")[:4] == ["13", "75.0 %", "30 s", "9.3 min"]
    assert row(text, "Skill runs", "pdf")[-3:] == ["2", "2.0M", "$0.75"]
    assert row(text, "Tools", "shell")[:3] == ["2,000", "████████", "99.5 %"]
    assert row(text, "Models", "large")[-1] == "$12.50"
    assert "Cost         $12.50  $0.30 a turn" in text
    assert "Turns            42  95.0 % success, 2 failed, 1 interrupted, 1 abandoned;" in text


def test_matrix_names_rate_and_attempts_of_each_model() -> None:
    """Each cell says how good and of how many; models of one name are told apart."""
    lines = section(page(), "Edit formats by model")
    assert re.split(r"  +", lines[0]) == ["Model", "edit", "patch"]
    assert lines[2] == "acme/large   ░░ 61.1 % of 95"
    assert lines[3] == "other/large  ░░ 50.0 % of 10"
    assert re.fullmatch(r"small +– of +1", lines[4])
    assert lines[5] == "edit: 4 changes made, 75.0 % at the first attempt, 6 given up"


def test_heatmap_names_rate_and_loads_of_each_agent() -> None:
    """Skills by agents, the busiest agent first; a pair that never was is empty."""
    lines = section(page(), "Skills by agent")
    assert re.split(r"  +", lines[0]) == ["Skill", "build", "plan"]
    assert lines[2] == "pdf       ▓▓ 92.3 % of 19  ██  100 % of  6"
    assert lines[4] == "_unknown  ░░    0 % of  4"


def enormous() -> Report:
    """Return a report with names and numbers as long as they can be."""
    metrics = {
        metric: {
            tuple(f"{value}-{'name' * 20}" if "_" not in value else value for value in labels): (
                value if isinstance(value, list) else value * 987_654_321
            )
            for labels, value in series.items()
        }
        for metric, series in snapshot().items()
        if metric.group in ("skills", "tools", "edits", "sessions")
    }
    return figures(metrics, Asked(NOON_MS, NOON_MS, "project" * 30))


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120])
@pytest.mark.parametrize("report", [REPORT, EMPTY, enormous()], ids=["usual", "empty", "enormous"])
def test_no_line_is_wider_than_the_page(report: Report, width: int) -> None:
    """Whatever names and numbers there are, each line fits, with nothing blank behind."""
    for line in page(report, width=width).splitlines():
        assert cell_len(line) <= width
        assert line == line.rstrip()


def test_narrow_page_leaves_out_columns_not_digits() -> None:
    """At 80 columns the bars and sizes are gone, and what stays is whole."""
    wide, narrow = (row(page(width=width), "Tools", "edit") for width in (120, 80))
    assert "edit_mismatch 37" in wide
    assert len(narrow) < len(wide)
    assert set(narrow) <= set(wide)
    assert "…" not in "".join(narrow)


def test_long_names_are_folded_not_cut() -> None:
    """A name that does not fit goes on in the next line, so that it can be copied."""
    text = page(enormous(), width=80)
    name = f"spare-{'name' * 20}"
    assert name in "".join(section(text, "Installed but not used"))
    first = "".join(line[:12].strip() for line in section(text, "Skills")[2:])
    assert "pdf-namename" in first


def test_top_limits_rows_and_tells_how_many_more() -> None:
    """With one row to a table, the rest is a number."""
    text = page(top=1)
    assert section(text, "Skills")[2:] == [section(page(), "Skills")[2], "… and 2 more (--top)"]
    assert section(text, "Installed but not used") == ["idle (project) … and 1 more (--top)"]
    assert section(text, "Transitions between skills")[-1] == "… and 2 more (--top)"
    assert "more (--top)" not in page(top=3)


def test_empty_sections_say_so_in_a_sentence() -> None:
    """Where nothing is counted each section is one short sentence."""
    text = page(EMPTY)
    for title in SECTIONS:
        (line,) = section(text, title)
        assert re.fullmatch(r"[A-Z][a-z ]+\.", line)


@pytest.mark.parametrize("name", ["_unknown", "_other"])
def test_names_of_ours_are_explained_where_they_appear(name: str) -> None:
    """`_unknown` and `_other` have a note under the page, and only if they are on it."""
    assert f"\n{name}: " in page()
    assert name not in page(EMPTY)


def test_what_was_asked_for_stands_in_the_headline() -> None:
    """Sources with their state, project and time are named before any number."""
    head = page(figures(snapshot(), Asked(NOON_MS, NOON_MS, "shop"))).split("\n\n")[0]
    words = " ".join(head.split())
    assert "broken.db, cannot be read · opencode.db (OpenCode 1.18.33, 2.0.15), 2 rows" in words
    assert "project shop" in words
    assert "Since 2026-11-18" in words


def test_colour_repeats_what_a_number_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal rates are green, yellow or red; without the colours it is the same page."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = page(force_terminal=True, color_system="standard")
    assert "\x1b[32m99.5 %" in coloured
    assert "\x1b[33m94.7 %" in coloured
    assert "\x1b[31m75.0 %" in coloured
    plain = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == page().splitlines()


# The command.


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
    whole = told(recorded)
    times = sorted(started(recorded))
    assert whole["totals"]["invocations"]["total"] == len(times)
    middle = times[len(times) // 2] // 1000 + 1
    found = told(recorded, "--since", datetime.fromtimestamp(middle, UTC).isoformat())
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


def test_every_metric_of_the_hand_made_snapshot_is_declared() -> None:
    """The hand-made snapshot has as many labels and cells as the catalogue declares."""
    for metric, series in snapshot().items():
        assert metric in c.METRICS
        for labels, value in series.items():
            assert len(labels) == len(metric.labels)
            assert isinstance(value, list) == (metric.kind == "histogram")
