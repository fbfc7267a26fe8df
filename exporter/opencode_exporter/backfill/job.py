"""
The job: from a ledger and its sources to a file, and what to do with that.

The file is there when it is whole; before, its name ends in ``.part``.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from opencode_exporter.backfill.history import History, read
from opencode_exporter.backfill.known import known_of
from opencode_exporter.backfill.openmetrics import Progress as WriteProgress
from opencode_exporter.backfill.openmetrics import Written, write
from opencode_exporter.backfill.period import Period
from opencode_exporter.backfill.timeline import Timeline
from opencode_exporter.config import Settings
from opencode_exporter.errors import ConfigError, ExporterError
from opencode_exporter.poller import Progress as ReadProgress
from opencode_exporter.waker import Clock

STDOUT: Final = Path("-")
_DAY_MS: Final = 86_400_000
_HEAD_MS: Final = 3 * 3_600_000
"""How much Prometheus may still be writing itself, as its documentation has it."""
_ADVICE: Final = """\
{written.samples:,} samples of {written.series:,} series, from {first} to {last}.

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
    known = known_of(job.ledger)
    end_ms = known.baseline_ms - 1
    if job.until_ms > end_ms:
        began = _utc(known.baseline_ms)
        raise ConfigError(
            f"the exporter began to count at {began}, before --until",
            hint="what came after is in what it serves; give an earlier time or none",
        )
    # What did not count has one more sample, at the end: 0.
    period = Period(job.step_s, (job.until_ms or end_ms) - known.skips, known.baseline_ms)
    with _opened(job.output) as out, Timeline() as timeline:
        history = History(known, period, timeline, settings)
        read(history, environ, home, clock, reading)
        return write(history, job.labels, out, writing)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open the file to write; it takes its name when all is written."""
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path.with_name(path.name + ".part")
    try:
        try:
            with part.open("wb") as out:
                yield out
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as err:
        raise ExporterError(
            f"{path} cannot be written ({err.strerror})",
            hint="free space, or choose another file; a longer --step needs less",
        ) from err


def advice(job: Job, written: Written, now_ms: int) -> str:
    """Return what was written, and how it comes into Prometheus."""
    days = math.ceil((now_ms - written.first_ms) / _DAY_MS) + 1
    free_ms = written.last_ms + _HEAD_MS
    text = _ADVICE.format(
        written=written,
        first=_utc(written.first_ms),
        last=_utc(written.last_ms),
        days=days,
        file=shlex.quote(str(job.output)),
    )
    return text + (_WAIT.format(free=_utc(free_ms)) if free_ms > now_ms else "")


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
