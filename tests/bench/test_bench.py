"""
The benchmark runs.

Its figures are asserted nowhere but where a bound is generous enough for any
machine.  ``BENCH=whole`` runs all of it on a small database (a minute).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bench import baseline
from harness.processes.process import with_our_modules
from harness.waiting import SOON_S

pytestmark = pytest.mark.slow


def run(module: str, *arguments: str) -> str:
    """Run a module of the benchmark and return what it prints."""
    return subprocess.run(
        [sys.executable, "-m", f"bench.{module}", *arguments],
        env={**with_our_modules(), "OPENCODE_BINARIES": os.devnull},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=240,
    ).stdout


def probe(
    name: str, directory: Path, seconds: float = 0, *, flags: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return what a probe finds with a small database of its own."""
    source, ledger = directory / "source" / "opencode.db", directory / "state" / "ledger.db"
    if not source.exists():
        source.parent.mkdir()
        run("generate", "--parts", "1000", "--out", str(source), *flags)
    found: dict[str, Any] = json.loads(run("probe", name, str(source), str(ledger), str(seconds)))
    return found


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_every_way_to_read_everything_reads_the_same(generation: str, tmp_path: Path) -> None:
    """A figure of a command that reads less than another one is no figure beside it."""
    flags = "--generation", generation
    names = ["history", "once", "report", "report-of-a-week"]
    found = {name: probe(name, tmp_path, flags=flags) for name in names}
    calls = {name: one["calls"] for name, one in found.items()}
    week = calls.pop("report-of-a-week")
    assert len(set(calls.values())) == 1
    assert 0 < week < calls["report"]
    assert all(one["seconds"] > 0 and one["cpu"] > 0 for one in found.values())


@pytest.mark.parametrize(("generation", "least"), [("v1", 0.89), ("v2", 0.85)])
def test_talkative_database_has_its_share_of_prose(
    generation: str, least: float, tmp_path: Path
) -> None:
    """What is measured as text and reasoning is hardly anything else, and calls are in it."""
    path = tmp_path / "talk.db"
    flags = "--parts", "4000", "--generation", generation, "--prose", "0.9"
    run("generate", *flags, "--out", str(path))
    kinds: dict[str, list[int]] = {}
    sql = {
        "v1": "SELECT data ->> '$.type', octet_length(data) FROM part",
        "v2": "SELECT item.value ->> '$.type', octet_length(item.value) FROM session_message "
        "AS row, json_each(row.data, '$.content') AS item WHERE row.type = 'assistant'",
    }
    with closing(baseline.connect(path)) as db:
        for kind, size in db.execute(sql[generation]):
            kinds.setdefault(kind, []).append(size)
    said = kinds.pop("text") + kinds.pop("reasoning")
    others = [size for sizes in kinds.values() for size in sizes]
    assert kinds["tool"]
    assert least < sum(said) / (sum(said) + sum(others)) < 0.97
    if generation == "v1":
        assert len(said) / (len(said) + len(others)) > least


def test_commits_become_visible_without_a_scrape(tmp_path: Path) -> None:
    """Every commit of a busy writer is published soon, though nobody asks for a poll."""
    found = probe("visible", tmp_path, seconds=1.5)
    assert found["commits"] > 1
    assert found["p99"] < SOON_S  # the goal is 0.3 s, which `make bench` measures


@pytest.mark.skipif(os.environ.get("BENCH") != "whole", reason="BENCH=whole runs all of it")
def test_whole_benchmark_runs(tmp_path: Path) -> None:
    """Each measure and each baseline finds something, and the table has a line for it."""
    result = tmp_path / "result.json"
    flags = ("--parts", "2000", "--rounds", "1", "--seconds", "1", "--json", str(result))
    table = run("run", *flags)
    rows = json.loads(result.read_text("utf-8"))["rows"]
    assert len(rows) == 23
    for row in rows:
        assert row["measure"].split(",")[0].split("/")[0].strip() in table
        assert row["ours"] > 0
        assert row["baseline"] > 0
