"""Recordings of real OpenCode are counted exactly as the scripted model issued them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from support import HOUR_MS, RECORDINGS, Bench, Exposed, exposed, truth, unpack

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))


@pytest.fixture(params=NAMES)
def recording(request: pytest.FixtureRequest, bench: Bench) -> str:
    """A recording laid out as the source, read a day after it was made."""
    name = str(request.param)
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    return name


def expected(name: str, *keys: str) -> Counter[tuple[Any, ...]]:
    """Return how many invocations the model issued, by some of their facts."""
    found = truth(name)
    calls = [*found["invocations"], *found.get("nested", [])]
    return Counter(tuple(call[key] for key in keys) for call in calls)


def assert_matches(name: str, page: Exposed) -> None:
    """Compare all that a recording's truth says with a page."""
    got = page.by("opencode_tool_invocations_total", "tool", "status")
    assert expected(name, "canonical", "status") == got
    assert got == page.by("opencode_tool_usage_total", "tool", "status")
    errors = expected(name, "canonical", "reason")
    wanted = {key: count for key, count in errors.items() if key[1] is not None}
    assert wanted == page.by("opencode_tool_errors_total", "tool", "reason")
    by_user = len(truth(name)["user_skills"])
    loads = page.by("opencode_skill_invocations_total", "skill", "status")
    assert sum(loads.values()) == by_user + sum(
        call["canonical"] == "skill" for call in truth(name)["invocations"]
    )
    completed = Counter(
        call["skill"]
        for call in truth(name)["invocations"]
        if call["canonical"] == "skill" and call["status"] == "completed"
    ) + Counter(load["skill"] for load in truth(name)["user_skills"])
    shown = page.by("opencode_skill_invocations_total", "skill", "status")
    assert completed == {
        skill: count for (skill, status), count in shown.items() if status == "completed"
    }
    assert page.total("opencode_exporter_rows_rejected_total") == 0
    assert (
        page.value("opencode_exporter_copies_skipped_total", cause="fork") == truth(name)["copies"]
    )


def test_every_recording_is_there() -> None:
    """The five versions and the upgrade between generations are recorded."""
    assert NAMES == [
        "1.14.48",
        "1.17.11",
        "1.18.33",
        "1.2.27",
        "2.0.15",
        "upgrade-1.18.33-2.0.15",
    ]


def test_counts_equal_what_the_model_issued(recording: str, bench: Bench) -> None:
    """One read of a real database counts each call by tool, status and reason, and no copy."""
    assert_matches(recording, bench.read_once())


def test_restart_on_the_ledger_changes_nothing(recording: str, bench: Bench) -> None:
    """A second exporter on the same ledger shows the same page and counts nothing again."""
    first = bench.exporter()
    first.poll()
    before = exposed(first)
    first.close()
    second = bench.exporter()
    second.poll()
    after = exposed(second)
    second.close()
    assert_matches(recording, after)
    for name in before.samples:
        if name.startswith(("opencode_tool_", "opencode_skill_")):
            assert before.samples[name] == after.samples[name]


def test_reading_all_again_counts_nothing_twice(recording: str, bench: Bench) -> None:
    """Without its cursors the exporter reads everything anew and recognises every call."""
    first = bench.exporter()
    first.poll()
    first.ledger._store._db.execute("DELETE FROM cursor")
    first.close()
    second = bench.exporter()
    second.poll()
    assert_matches(recording, exposed(second))
    second.close()


def test_source_is_left_as_it_was(recording: str, bench: Bench) -> None:
    """Reading changes no byte of the database and of its WAL, and adds neither to a cold one."""
    before = {path.name: path.read_bytes() for path in bench.directory.glob("opencode.db*")}
    bench.read_once()
    after = {path.name: path.read_bytes() for path in bench.directory.glob("opencode.db*")}
    if "opencode.db-wal" in before:
        after.pop("opencode.db-shm")  # SQLite's own index of a WAL that was there
    assert before == after


@pytest.mark.parametrize("name", NAMES)
def test_once_prints_the_same_and_exits_0(name: str, bench: Bench) -> None:
    """The command `once` prints the metrics of a recording on stdout and exits 0."""
    unpack(name, bench.directory)
    done = subprocess.run(
        [sys.executable, "-m", "opencode_exporter", "once", "--source.path", str(bench.source)],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(bench.directory / "home")},
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    page = Exposed(done.stdout)
    counted = sum(expected(name, "canonical").values())
    # Calls of killed processes are still open if the recording is younger than six hours.
    open_calls = page.total("opencode_tool_in_flight")
    assert counted == page.total("opencode_tool_invocations_total") + open_calls


@pytest.mark.parametrize("name", NAMES)
def test_sigkill_in_the_first_read_loses_and_repeats_nothing(name: str, bench: Bench) -> None:
    """An exporter killed while it reads the history goes on where its ledger ends."""
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from support import Bench, FakeClock; from opencode_exporter import tailer\n"
        "tailer._ROWS = 40\n"
        "bench = Bench(Path(sys.argv[2]), FakeClock(int(sys.argv[3])))\n"
        "exporter = bench.exporter(); apply = exporter.ledger.apply; calls = []\n"
        "def dying(source, chunk):\n"
        "    apply(source, chunk); exporter.ledger.commit(); calls.append(1)\n"
        "    if len(calls) == 3: os.kill(os.getpid(), 9)\n"
        "exporter.ledger.apply = dying; exporter.poll()\n"
    )
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            os.path.dirname(__file__),
            str(bench.directory),
            str(bench.clock.ms),
        ],
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    exporter = bench.exporter()
    assert not exposed(exporter).samples.get("opencode_tool_invocations_total")
    exporter.poll()
    assert_matches(name, exposed(exporter))
    exporter.close()
