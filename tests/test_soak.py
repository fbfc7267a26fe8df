"""A short soak, and that a soak can fail."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from soak.checker import Bounds, Checker, Page
from soak.truth import ALIVE, COPY, DOUBT, Counts, Fact, Journal, Line, Truth

SOAK = Path(__file__).parent / "soak" / "run.py"
LAST = re.compile(
    r"soak: \d+\.\d min, (?P<writers>\d+) writers, (?P<operations>[\d ]+) operations, "
    r"(?P<restarts>[\d ]+) restarts \((?P<kills>[\d ]+) SIGKILL, (?P<terms>[\d ]+) SIGTERM\), "
    r"(?P<scrapes>[\d ]+) scrapes, (?P<violations>[\d ]+) violations"
)
BASELINE = "opencode_exporter_baseline_timestamp_seconds 1\n"
COUNTED = """\
# TYPE opencode_tool_invocations_total counter
opencode_tool_invocations_total{{status="completed",tool="read"}} {calls}
# TYPE opencode_tool_usage_total counter
opencode_tool_usage_total{{agent="build",project="a",status="completed",tool="read"}} {usage}
"""


def run(directory: Path, *flags: str) -> tuple[subprocess.CompletedProcess[str], dict[str, int]]:
    """Run a soak; return how it ended and the numbers of its last line."""
    ended = subprocess.run(
        [sys.executable, str(SOAK), "--dir", str(directory), *flags],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    last = LAST.fullmatch(ended.stdout.splitlines()[-1] if ended.stdout else "")
    assert last, ended.stdout + ended.stderr
    return ended, {name: int(text.replace(" ", "")) for name, text in last.groupdict().items()}


def test_short_soak_finds_no_violation(tmp_path: Path) -> None:
    """Three writers, kills on all sides and scrapes all the time: every number is exact."""
    ended, numbers = run(tmp_path, "--minutes", "0.3", "--writers", "3", "--seed", "2")
    assert ended.returncode == 0, ended.stdout
    assert numbers["violations"] == 0
    assert numbers["operations"] > 200
    assert numbers["kills"] > 0
    assert numbers["terms"] > 0
    assert numbers["scrapes"] > 10
    assert re.search(
        r"^[1-9]\d* comparisons with nobody writing, [1-9]", ended.stdout, re.MULTILINE
    )


def test_soak_fails_when_a_count_is_wrong(tmp_path: Path) -> None:
    """One call that the writers claim and the exporter does not have is a violation."""
    ended, numbers = run(tmp_path, "--minutes", "0.03", "--writers", "1", "--spoil")
    assert ended.returncode == 1
    assert numbers["violations"] > 0
    assert re.search(r"violation at \d+\.\d s: .*too little: read/completed -1", ended.stdout)


def violations(*pages: str, least: int = 0, most: int = 9) -> list[str]:
    """Return what a checker says of some pages of one process."""
    found: list[str] = []
    checker = Checker(found.append)
    low, high = Counts(), Counts()
    low.tools["read", "completed"], high.tools["read", "completed"] = least, most
    for page in pages:
        checker.check(Page(page, openmetrics=False), Bounds(low, high), life=1)
    return found


def counted(calls: int, usage: int | None = None) -> str:
    """Return a page that counts so many calls."""
    return BASELINE + COUNTED.format(calls=calls, usage=calls if usage is None else usage)


def test_checker_is_content_with_sound_pages() -> None:
    """Counters that grow between the bounds are what is wanted."""
    assert violations(counted(1), counted(1), counted(3), least=1, most=3) == []


@pytest.mark.parametrize(
    ("pages", "sentence"),
    [
        ((counted(3), counted(2)), "fell from 3 to 2"),
        ((counted(3), BASELINE), "is gone, it was 3"),
        ((counted(10),), "counts too much: read/completed +1"),
        ((counted(1),), "counts too little: read/completed -1"),
        ((counted(3, usage=2),), "differ: read/completed -1"),
        ((COUNTED.format(calls=3, usage=3),), "is there before the baseline"),
        ((counted(3), ""), "the baseline is gone"),
    ],
)
def test_checker_finds_what_is_wrong(pages: tuple[str, ...], sentence: str) -> None:
    """A page that cannot be true after those before it, or beside the truth, is reported."""
    assert any(sentence in found for found in violations(*pages, least=2))


@pytest.mark.parametrize("shown", ["github_search", "_unknown"])
def test_checker_takes_either_name_of_a_tool_that_never_ran(shown: str) -> None:
    """A soak whose first call of a tool was given up failed: the name was no label yet."""
    found: list[str] = []
    counts = Counts()
    counts.add(Fact("m1", "c1", "github_search", "abandoned"))
    page = BASELINE + "".join(
        f'# TYPE {name} counter\n{name}{{{more}status="abandoned",tool="{shown}"}} 1\n'
        for name, more in (
            ("opencode_tool_invocations_total", ""),
            ("opencode_tool_usage_total", 'agent="build",project="a",'),
        )
    )
    Checker(found.append).check(Page(page, openmetrics=False), Bounds(counts, counts), life=1)
    assert found == []


def test_checker_finds_buckets_that_do_not_add_up() -> None:
    """A bucket that holds fewer than the one below it is reported."""
    name = "opencode_tool_duration_seconds"
    cells = "".join(
        f'{name}_bucket{{le="{edge}",status="completed",tool="read"}} {count}\n'
        for edge, count in (("1.0", 2), ("2.0", 1), ("+Inf", 2))
    )
    rest = f'{name}_count{{status="completed",tool="read"}} 3\n'
    found = violations(f"{BASELINE}# TYPE {name} histogram\n{cells}{rest}")
    assert any("do not add up" in sentence for sentence in found)
    assert any("is not its count" in sentence for sentence in found)


def test_truth_tells_committed_from_lost(tmp_path: Path) -> None:
    """What a killed writer only announced does not count; the next line shows which it was."""
    journal = Journal(tmp_path / "journal")
    ended = Fact("m1", "c1", "read", "completed", 5)
    journal.note(Line(first := journal.next(), 0, [ended]))
    journal.note(Line(journal.next(), first, [Fact("m2", "c1", "read", "completed", 5)]))
    # The writer of the second line was killed before it committed.
    journal.note(Line(third := journal.next(), first, [Fact("m3", "c1", "edit", COPY)]))
    truth = Truth(tmp_path / "journal")
    truth.follow()
    truth.resolve(third)
    assert truth.counts.tools == {("read", "completed"): 1}
    assert (truth.operations, truth.lost, truth.settled) == (2, 1, 2)


def test_truth_survives_a_torn_line(tmp_path: Path) -> None:
    """A line that was cut off is no line, and the next begins anew."""
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.note(Line(first := journal.next(), 0, [Fact("m1", "c1", "read", "completed", 5)]))
    with path.open("ab") as file:
        file.write(b"[99,")
    journal.note(Line(journal.next(), first, [Fact("m1", "c1", "read", "abandoned")]))
    truth = Truth(path)
    truth.follow()
    assert truth.counts.tools == {("read", "completed"): 1}
    assert truth.at_most().tools == truth.counts.tools


def test_truth_has_bounds_for_what_time_decides(tmp_path: Path) -> None:
    """A call that a later step leaves behind may be given up, unless it changes after all."""
    journal = Journal(tmp_path / "journal")
    left, alive = Fact("m1", "c1", "read", DOUBT, 1), Fact("m2", "c1", "edit", DOUBT, 1)
    later = Fact("m3", "c1", "grep", DOUBT, 1 << 60)
    journal.note(Line(first := journal.next(), 0, [left, alive, later]))
    journal.note(Line(second := journal.next(), first, [alive._replace(status=ALIVE)]))
    truth = Truth(tmp_path / "journal")
    truth.follow()
    truth.resolve(second)
    assert truth.at_least().tools == {}
    assert truth.at_most().tools == {("read", "abandoned"): 1}
    ends = [left._replace(status="abandoned", ms=-1), Fact("m1", "c1", "read", "completed", 5)]
    for fact in ends:
        journal.note(Line(number := journal.next(), second, [fact]))
        truth.follow()
        truth.resolve(second := number)
    assert truth.at_least().tools == truth.at_most().tools == {("read", "abandoned"): 1}
    assert truth.at_most().late == {("completed",): 1}


def test_truth_allows_the_earliest_moment_of_a_doubt(tmp_path: Path) -> None:
    """A row that was spoiled while a step grew old was held against that step's minute."""
    journal = Journal(tmp_path / "journal")
    old = Fact("m1", "c1", "read", DOUBT, 1 << 60)
    journal.note(Line(first := journal.next(), 0, [old]))
    journal.note(Line(second := journal.next(), first, [old._replace(ms=0)]))
    truth = Truth(tmp_path / "journal")
    truth.follow()
    truth.resolve(second)
    assert truth.at_most().tools == {("read", "abandoned"): 1}
