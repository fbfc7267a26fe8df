"""
Measures of reading everything: into a ledger, by the commands that need none, into a history.

Seconds are the wall's; CPU seconds are those of this process and of all that it started.
Knows nothing of what they are compared with.
"""

from __future__ import annotations

import json
import re
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from click.testing import CliRunner

from bench import baseline
from opencode_exporter import catalog as c
from opencode_exporter.clock import SystemClock
from opencode_exporter.commands.backfill import Job, run
from opencode_exporter.commands.once import once as once_command
from opencode_exporter.commands.report_command import report as report_command
from opencode_exporter.service import read_ahead
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.service.settings import Settings

_HOUR_S: Final = 3600
_WEEK_MS: Final = 7 * 86_400_000
_CALLS: Final = re.compile(rf"^{c.TOOL_INVOCATIONS.name}{{.*}} (\S+)$", re.MULTILINE)

Found = Mapping[str, float | str]


@contextmanager
def exporter_over(source: Path, ledger: Path) -> Iterator[Exporter]:
    """Start an exporter without a server, and close it."""
    settings = Settings(source_paths=(source,), ledger_path=ledger)
    exporter = Exporter(settings, {}, ledger.parent / "home")
    try:
        yield exporter
    finally:
        exporter.close()


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began, self._used = time.perf_counter(), _cpu()

    def read(self) -> dict[str, float]:
        """Return the seconds and the CPU seconds of all processes that have ended, and of this."""
        return {"seconds": time.perf_counter() - self._began, "cpu": _cpu() - self._used}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def history(source: Path, ledger: Path) -> Found:
    """Read everything: into a new ledger, or what is left to read into one that exists."""
    watch = Stopwatch()
    with exporter_over(source, ledger) as exporter:
        exporter.poll()
        took = watch.read()
        if not exporter.ledger.published.baseline_ms:
            raise SystemExit(f"The history was not read: {exporter.pages.not_ready()}")
        calls = sum(
            value
            for value in exporter.pages.snapshot().series[c.TOOL_INVOCATIONS].values()
            if isinstance(value, int)
        )
    return {**took, "calls": calls}


def history_by_one(source: Path, ledger: Path) -> Found:
    """Read everything with the help of one process that reads ahead."""
    read_ahead._READERS = 1  # type: ignore[misc]
    return history(source, ledger)


def backfill(source: Path, ledger: Path) -> Found:
    """Write the history before the ledger's baseline, with a sample an hour."""
    output = ledger.with_name("history.om")
    job = Job(ledger, output, {"job": "opencode", "instance": "bench"}, _HOUR_S)
    settings = Settings(source_paths=(source,))
    watch = Stopwatch()
    written = run(
        job, settings, {}, ledger.parent / "home", SystemClock(), lambda *_: None, lambda *_: None
    )
    took, size = watch.read(), output.stat().st_size
    output.unlink()
    return {**took, "samples": written.samples, "bytes": size}


def once(source: Path, ledger: Path) -> Found:
    """Run the command ``once``."""
    took, page = _commanded(once_command, source, ledger.parent)
    return {**took, "calls": sum(float(value) for value in _CALLS.findall(page))}


def report(source: Path, ledger: Path) -> Found:
    """Run the command ``report``."""
    return _reported(source, ledger)


def report_of_a_week(source: Path, ledger: Path) -> Found:
    """Run ``report --since 7d``, as if the last row had been written just now."""
    since = datetime.fromtimestamp((_newest_ms(source) - _WEEK_MS) / 1000, UTC)
    return _reported(source, ledger, "--since", since.isoformat())


def _reported(source: Path, ledger: Path, *flags: str) -> Found:
    flags = ("--format", "json", *flags)
    took, text = _commanded(report_command, source, ledger.parent, *flags)
    return {**took, "calls": json.loads(text)["totals"]["invocations"]["total"]}


def _commanded(
    command: click.Command, source: Path, directory: Path, *flags: str
) -> tuple[dict[str, float], str]:
    """Return what a command took, and what it printed."""
    home = {"HOME": str(directory / "home")}
    watch = Stopwatch()
    done = CliRunner().invoke(command, ["--source.path", str(source), *flags], env=home)
    took = watch.read()
    if done.exit_code:
        raise SystemExit(f"The command {command.name!r} failed: {done.stderr or done.exception}")
    return took, done.stdout


def _newest_ms(source: Path) -> int:
    """Return when the last message was written, ms."""
    with closing(baseline.connect(source)) as db:
        table = "message" if db.table_exists("main", "message") else "session_message"
        return int(db.execute(f"SELECT max(time_created) FROM {table}").get)
