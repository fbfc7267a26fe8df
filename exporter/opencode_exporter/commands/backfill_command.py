"""The command ``backfill``: the history before the first start, for Prometheus."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from opencode_exporter.clock import SystemClock
from opencode_exporter.commands import logs
from opencode_exporter.commands.flags.fields import ledger_at, settings_of
from opencode_exporter.commands.flags.groups import BACKFILL, COUNTING, flags, logging_flags
from opencode_exporter.commands.terminal import ProgressBar
from opencode_exporter.source.locate import home_directory


@click.command()
@flags(BACKFILL, COUNTING, logging_flags())
def backfill(
    *,
    ledger_path: Path | None,
    output: Path,
    label: dict[str, str],
    step: int,
    until: int | None,
    log_level: str,
    log_format: logs.LogFormat,
    **given: Any,
) -> None:
    """
    Write the history before the first start for Prometheus.

    The exporter has to be stopped meanwhile, as it holds the ledger. Give the same flags as it
    has: then the last sample is the first value that it served.
    """
    from opencode_exporter.commands.backfill import (  # noqa: PLC0415  # --help stays quick
        Job,
        advice,
        run,
    )

    logs.configure(log_level, log_format)
    job = Job(ledger_at(ledger_path), output, label, step // 1000, until or 0)
    # What has been written by then is removed.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    clock = SystemClock()
    with ProgressBar() as reading, ProgressBar("writing history", "samples") as writing:
        written = run(
            job,
            settings_of(given, None),
            os.environ,
            home_directory(),
            clock,
            reading.show,
            partial(writing.show, label["instance"]),
        )
    click.echo(advice(job, written, clock.now_ms()), err=True, nl=False)
