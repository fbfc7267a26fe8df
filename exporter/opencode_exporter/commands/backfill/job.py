"""
The job: from a ledger and its sources to a file, and what to do with that.

The file is there when it is whole; before, its name ends in ``.part``.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from opencode_exporter.clock import Clock
from opencode_exporter.commands.backfill.baseline import Baseline, baseline_of
from opencode_exporter.commands.backfill.history import History, read
from opencode_exporter.commands.backfill.openmetrics import Progress as WriteProgress
from opencode_exporter.commands.backfill.openmetrics import Written, write
from opencode_exporter.commands.backfill.timeline import Period, Timeline
from opencode_exporter.errors import ConfigError, ExporterError, printable
from opencode_exporter.ledger.place import take_after
from opencode_exporter.service.settings import Settings
from opencode_exporter.service.source_poll import Progress as ReadProgress
from opencode_exporter.source.locate import beside, databases

STDOUT: Final = Path("-")
_DAY_MS: Final = 86_400_000
_HEAD_MS: Final = 3 * 3_600_000
"""How much Prometheus may still be writing itself, as its documentation has it."""
_DONE: Final = """\
{written.samples:,} samples of {written.series:,} series, from {first} to {last}.
"""
_TOO_LITTLE: Final = """\
{written.too_little:,} of {written.metrics:,} (a histogram being one) had counted more than is \
found now: that is there from the start.
"""
_TOO_MUCH: Final = """\
{written.too_much:,} of {written.metrics:,} (a histogram being one) had counted less than is \
found now: the earliest is left out.
"""
_ADVICE: Final = """
To have them in Prometheus, give it
  --storage.tsdb.retention.time={days}d
or more: it deletes what is older at once, and keeps 15d if nothing is said. Then:
  promtool tsdb create-blocks-from --max-block-duration=10000h openmetrics \\
    {file} DATA_DIRECTORY_OF_PROMETHEUS
"""
_WAIT: Final = """\
If that Prometheus runs already, do this after {free}:
it may still be writing the three hours before now itself.
"""


@dataclass(frozen=True)
class Job:
    """What was asked for.  Times are Unix ms; ``until_ms`` 0: up to the baseline."""

    ledger: Path
    output: Path
    labels: Mapping[str, str]
    step_s: int
    until_ms: int = 0


def run(
    job: Job,
    settings: Settings,
    environ: Mapping[str, str],
    home: Path,
    clock: Clock,
    reading: ReadProgress,
    writing: WriteProgress,
) -> Written:
    """
    Write the history before the baseline.

    Raises:
        LedgerError: The ledger does not know a baseline, or cannot be read.
        SourceError: A source cannot be read.
        ExporterError: The file cannot be written.
    """
    _refuse_what_is_read(job, settings, environ, home)
    baseline = baseline_of(job.ledger)
    period = _period(job, baseline)
    with _opened(job.output) as out, Timeline() as timeline:
        history = History(baseline, period, timeline, settings)
        read(history, environ, home, clock, reading)
        if job.until_ms and timeline.first(period.last) is None:
            raise ConfigError("nothing happened before --until", hint="give a later time or none")
        return write(history, job.labels, out, writing)


def _refuse_what_is_read(
    job: Job, settings: Settings, environ: Mapping[str, str], home: Path
) -> None:
    files = databases(settings.source_paths, environ, home)
    own = set().union(*map(beside, (*files, job.ledger)))
    if os.path.realpath(job.output) in own:
        raise ConfigError(
            f"{job.output} is a database that is read", hint="choose another file with --output"
        )


def _period(job: Job, baseline: Baseline) -> Period:
    """Return the period; what did not count has one more sample at its end, 0."""
    end_ms = baseline.at_ms - 1
    if job.until_ms > end_ms:
        raise ConfigError(
            f"the exporter began to count at {_utc(baseline.at_ms)}, before --until",
            hint="what came after is in what it serves; give an earlier time or none",
        )
    return Period(
        job.step_s,
        (job.until_ms or end_ms) - baseline.skips,
        job.until_ms or baseline.at_ms,
        baseline.at_ms,
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open the file to write; it takes its name when all is written."""
    try:
        with _target(path) as out:
            yield out
    except BrokenPipeError:
        raise  # who reads has seen enough
    except OSError as err:
        full = err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise ExporterError(
            f"{path} cannot be written ({err.strerror})",
            hint="free space; a longer --step needs less" if full else "choose another --output",
        ) from err


@contextlib.contextmanager
def _target(path: Path) -> Iterator[IO[bytes]]:
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():  # a pipe or a device
        with path.open("wb") as out:
            yield out
        return
    real = Path(os.path.realpath(path))
    part = real.with_name(f"{real.name}.{secrets.token_hex(4)}.part")
    try:
        if replaces := real.exists():  # whoever may not read that one may not read this one, either
            part.touch(mode=0o600, exist_ok=False)
        with part.open("wb") as out:
            if replaces:
                take_after(part, real)
            yield out
        part.replace(real)
    finally:
        part.unlink(missing_ok=True)


def advice(job: Job, written: Written, now_ms: int) -> str:
    """Return what was written, and how it comes into Prometheus."""
    free_ms = written.last_ms + _HEAD_MS
    # A name that begins with a dash would be a flag.
    output = os.path.join(job.output.parent, job.output.name)  # noqa: PTH118
    name = "FILE" if job.output == STDOUT else _pasted(output)
    return "".join(
        (
            _DONE.format(written=written, first=_utc(written.first_ms), last=_utc(written.last_ms)),
            _TOO_LITTLE.format(written=written) if written.too_little else "",
            _TOO_MUCH.format(written=written) if written.too_much else "",
            _ADVICE.format(days=math.ceil((now_ms - written.first_ms) / _DAY_MS) + 1, file=name),
            _WAIT.format(free=_utc(free_ms)) if free_ms > now_ms else "",
        )
    )


def _pasted(name: str) -> str:
    """Return a name as a shell takes it, without anything that a terminal would obey."""
    if printable(name) == name:
        return shlex.quote(name)
    safe = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{printable(safe)}'"


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
