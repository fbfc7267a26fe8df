"""The command ``once``: one reading of everything, and its page on stdout."""

from __future__ import annotations

import os
from typing import Any

import click

from opencode_exporter.commands import logs
from opencode_exporter.commands.flags.fields import settings_of
from opencode_exporter.commands.flags.groups import COUNTING, flags, logging_flags
from opencode_exporter.commands.terminal import ProgressBar
from opencode_exporter.source.locate import home_directory


@click.command()
@flags(COUNTING, logging_flags())
def once(*, log_level: str, log_format: logs.LogFormat, **given: Any) -> None:
    """Read everything into memory, print the metrics, exit."""
    from opencode_exporter.service.exporter import Exporter  # noqa: PLC0415  # --help stays quick

    logs.configure(log_level, log_format)
    with ProgressBar() as bar:
        exporter = Exporter(
            settings_of(given, None), os.environ, home_directory(), progress=bar.show
        )
        exporter.poll()
    click.echo(exporter.pages.metrics("").body, nl=False)
    exporter.close()
    if not all(health.up for health in exporter.poller.health.values()):
        raise SystemExit(1)
