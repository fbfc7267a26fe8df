"""The command ``report``: one reading of everything, and its report on stdout."""

from __future__ import annotations

import os
from typing import Any, Literal

import click

from opencode_exporter.clock import SystemClock
from opencode_exporter.commands import logs
from opencode_exporter.commands.flags.fields import settings_of
from opencode_exporter.commands.flags.groups import COUNTING, REPORTING, flags, logging_flags
from opencode_exporter.commands.terminal import ProgressBar
from opencode_exporter.source.locate import home_directory


@click.command()
@flags(COUNTING, REPORTING, logging_flags("error"))
def report(
    *,
    top: int,
    format: Literal["terminal", "json"],  # noqa: A002  # the name of the flag
    log_level: str,
    log_format: logs.LogFormat,
    **given: Any,
) -> None:
    """Print skills, tools, edits and models by use; needs no server."""
    from opencode_exporter.commands.report import (  # noqa: PLC0415  # --help stays quick
        Asked,
        figures,
        output,
    )
    from opencode_exporter.service.exporter import Exporter  # noqa: PLC0415

    logs.configure(log_level, log_format)
    settings = settings_of(given, None)
    with ProgressBar() as bar:
        exporter = Exporter(settings, os.environ, home_directory(), progress=bar.show)
        exporter.poll()
    snapshot, states = exporter.pages.snapshot().series, exporter.poller.health
    exporter.close()
    if any(health.is_read for health in states.values()):
        asked = Asked(SystemClock().now_ms(), settings.since_ms, settings.only_project)
        click.echo(output(figures(snapshot, asked), format, top, os.environ), nl=False)
    for label, health in states.items():
        if not health.up:
            click.echo(f"opencode-exporter: {label}: {health.problem}", err=True)
    if not all(health.up for health in states.values()):
        raise SystemExit(1)
