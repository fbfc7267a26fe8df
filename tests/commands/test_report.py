"""The report as it is read: the page at any width, in colour or not."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from commands.report_snapshot import NOON_MS, snapshot
from opencode_exporter import catalog as c
from opencode_exporter.commands.report import Asked, Report, figures, render
from opencode_exporter.counting.labels import OPEN_LABELS
from opencode_exporter.counting.series import Histogram

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
    return text.split(f"\n{title}\n")[1].partition("\n\n")[0].splitlines()


def row(text: str, title: str, name: str) -> list[str]:
    """Return the cells of a section's row, the name left out."""
    found = next(line for line in section(text, title) if line.startswith(name))
    return re.split(r"  +", found.removeprefix(name).strip())


def test_sections_come_in_order() -> None:
    """After the headline come all sections, each under its title."""
    lines = page().splitlines()
    assert lines[0] == "OpenCode report"
    assert [line for line in lines if line in SECTIONS] == SECTIONS


def test_page_shows_the_figures() -> None:
    """The numbers of the page are those of the JSON, in units for people."""
    text = page()
    assert row(text, "Skills", "pdf") == [
        *("25", "94.7 %", "31 ms", "44 min", "1", "2", "1", "3", "11", "7"),
    ]
    assert row(text, "Skill runs", "pdf")[:4] == ["13", "75.0 %", "45 s", "9.2 min"]
    assert row(text, "Skill runs", "pdf")[-3:] == ["2", "2.0M", "$0.75"]
    assert row(text, "Tools", "shell")[:3] == ["2,000", "████████", "99.5 %"]
    assert row(text, "Models", "large")[-1] == "$12.50"
    assert "Cost         $12.50  $0.30 a turn" in text
    assert "0 aborted" not in text
    assert "8 denied, 2 running now" in text
    assert "Turns            42  95.0 % success, 2 failed, 1 interrupted, 1 abandoned;" in text


def test_matrix_names_rate_and_attempts_of_each_model() -> None:
    """Each cell says how good and of how many; models of one name are told apart."""
    lines = section(page(), "Edit formats by model")
    assert re.split(r"  +", lines[0]) == ["Model", "edit", "patch"]
    assert lines[2] == "acme/large   ░░ 61.1 % of 95"
    assert lines[3] == "other/large  ░░ 50.0 % of 10"
    assert re.fullmatch(r"small +\u2013 of +1", lines[4])
    assert lines[5] == "edit: 4 changes made, 75.0 % at the first attempt, 6 given up"


def test_heatmap_names_rate_and_loads_of_each_agent() -> None:
    """Skills by agents, the busiest agent first; a pair that never was is empty."""
    lines = section(page(), "Skills by agent")
    assert re.split(r"  +", lines[0]) == ["Skill", "build", "plan"]
    assert lines[2] == "pdf       ▓▓ 92.3 % of 19  ██  100 % of  6"
    assert lines[4] == "_unknown  ░░    0 % of  4"


def longest(label: str, value: str) -> str:
    """Return a label's value, as long as may be where it is a name of the source's."""
    return f"{value}-{'name' * 20}" if label in OPEN_LABELS else value


def enormous() -> Report:
    """Return a report with names and numbers as long as they can be."""
    metrics = {
        metric: {
            tuple(map(longest, metric.labels, labels)): (
                value
                if isinstance(value, Histogram) or "timestamp" in metric.name
                else value * 987_654_321
            )
            for labels, value in series.items()
        }
        for metric, series in snapshot().items()
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
    assert row(text, "Skills", "pdf") == row(page(), "Skills", "pdf")
    assert section(text, "Skills")[3:] == ["… and 2 more (--top)"]
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
    for colour, rate in ((32, "99.5 %"), (33, "94.7 %"), (31, "75.0 %")):
        assert re.search(rf"\x1b\[{colour}m *{rate}", coloured)
    plain = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == page().splitlines()


def test_every_metric_of_the_hand_made_snapshot_is_declared() -> None:
    """The hand-made snapshot has as many labels and cells as the catalogue declares."""
    for metric, series in snapshot().items():
        assert metric in c.METRICS
        for labels, value in series.items():
            assert len(labels) == len(metric.labels)
            assert isinstance(value, Histogram) == (metric.kind == "histogram")
