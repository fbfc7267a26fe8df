"""Recordings of real OpenCode are counted exactly as the scripted model issued them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from harness.clock import HOUR_MS
from harness.exporters import Bench, Exposed, exposed
from harness.places import RECORDINGS, TESTS
from harness.recordings import truth, unpack
from harness.rereading import forget_cursors
from opencode_exporter.chunk import Chunk
from opencode_exporter.source.opencode import tailer

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))
SHOWN = {"opencode": "OpenCode"}
"""Skills that 2.x is asked for by an id and that have another name."""


@pytest.fixture(params=NAMES)
def recording(request: pytest.FixtureRequest, bench: Bench) -> str:
    """A recording laid out as the source, read a day after it was made."""
    name = str(request.param)
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    return name


def expected(name: str, *keys: str) -> Counter[tuple[Any, ...]]:
    """Return how many invocations the model issued, by some of their facts."""
    calls = []
    for call in truth(name)["invocations"]:
        calls.append(call)
        for inner in call.get("inner", []):  # calls inside ``execute``: no reason is recorded
            reason = "other" if inner["status"] == "error" else None
            calls.append(inner | {"canonical": inner["tool"], "reason": reason})
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
        SHOWN.get(call["skill"], call["skill"])
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
    """Five versions, their turns, and the upgrades between generations are recorded."""
    assert NAMES == [
        "1.14.48",
        "1.17.11",
        "1.18.33",
        "1.2.27",
        "2.0.15",
        "turns-1.18.33",
        "turns-1.2.27",
        "turns-2.0.15",
        "turns-upgrade-1.18.33-2.0.15",
        "upgrade-1.18.33-2.0.15",
    ]


def test_counts_equal_what_the_model_issued(recording: str, bench: Bench) -> None:
    """One read of a real database counts each call by tool, status and reason, and no copy."""
    assert_matches(recording, bench.read_once())


@pytest.mark.slow
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


@pytest.mark.slow
def test_reading_all_again_counts_nothing_twice(recording: str, bench: Bench) -> None:
    """Without its cursors the exporter reads everything anew and recognises every call."""
    first = bench.exporter()
    first.poll()
    first.close()
    forget_cursors(bench.ledger)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_once_prints_the_same_and_exits_0(name: str, bench: Bench) -> None:
    """The command `once` prints the metrics of a recording on stdout and exits 0."""
    unpack(name, bench.directory)
    # By its default a call stays open for six hours, and a recording may be younger.
    assert_matches(name, once(bench, "--abandon-after", "1ms"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_once_holds_back_what_may_still_end(name: str, bench: Bench) -> None:
    """Calls of killed processes count as soon as they are six hours old, and no others wait."""
    unpack(name, bench.directory)
    page = once(bench)
    issued = expected(name, "canonical").total()
    open_calls = sum(call.get("open", False) for call in truth(name)["invocations"])
    held = issued - page.total("opencode_tool_invocations_total")
    old = time.time() * 1000 - truth(name)["recorded_at_ms"] > 6 * HOUR_MS
    assert 0 <= held <= (0 if old else open_calls)
    # One that was killed before its arguments had arrived is held, and does not run.
    assert page.total("opencode_tool_in_flight") <= held


def once(bench: Bench, *words: str) -> Exposed:
    """Return what the command `once` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "opencode_exporter", "once", "--source.path", bench.source, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(bench.directory / "home")},
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return Exposed(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [1, 3])
def test_reading_in_two_steps_counts_the_same(
    recording: str, bench: Bench, chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll that is told to stop after some chunks is carried on by the next one."""
    monkeypatch.setattr(tailer, "CHUNK_ROWS", 40)
    exporter = bench.exporter()
    apply, applied = exporter.ledger.apply, 0

    def stopping(source: str, chunk: Chunk) -> None:
        nonlocal applied
        apply(source, chunk)
        applied += 1
        if applied == chunks:
            exporter.poller.stop()

    monkeypatch.setattr(exporter.ledger, "apply", stopping)
    exporter.poll()
    assert applied == chunks
    assert not exposed(exporter).samples.get("opencode_tool_invocations_total")
    exporter.poller.stopping.clear()
    exporter.poll()
    assert applied > chunks
    assert_matches(recording, exposed(exporter))
    exporter.close()


def test_several_sources_add_up(bench: Bench) -> None:
    """Databases beside each other are all read, and their counts are the sums of each alone."""
    shared = bench.directory / "data"
    shared.mkdir()
    for name, channel in zip(NAMES, ("", *(f"-{letter}" for letter in "abcdefghi")), strict=True):
        unpack(name, bench.directory / name)
        for path in (bench.directory / name).iterdir():
            path.rename(shared / path.name.replace("opencode", f"opencode{channel}"))
    bench.clock.ms = max(truth(name)["recorded_at_ms"] for name in NAMES) + 24 * HOUR_MS
    page = bench.read_once(source_paths=(shared,))
    assert page.total("opencode_up") == len(NAMES)
    for labels in (("canonical", "status"), ("canonical", "reason")):
        issued = sum((expected(name, *labels) for name in NAMES), Counter())
        wanted = {key: count for key, count in issued.items() if key[1] is not None}
        family = "invocations" if labels[1] == "status" else "errors"
        assert wanted == page.by(f"opencode_tool_{family}_total", "tool", labels[1])
    copies = sum(truth(name)["copies"] for name in NAMES)
    assert page.value("opencode_exporter_copies_skipped_total", cause="fork") == copies


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_sigkill_in_the_first_read_loses_and_repeats_nothing(name: str, bench: Bench) -> None:
    """An exporter killed while it reads the history goes on where its ledger ends."""
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from harness.clock import FakeClock; from harness.exporters import Bench\n"
        "from opencode_exporter.source.opencode import tailer\n"
        "assert tailer.CHUNK_ROWS; tailer.CHUNK_ROWS = 40\n"
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
            str(TESTS),
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
