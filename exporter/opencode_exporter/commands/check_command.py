"""The command ``check``: what the doctor finds, as tables."""

from __future__ import annotations

import os
from pathlib import Path

import click

from opencode_exporter.commands.flags.groups import SOURCE
from opencode_exporter.commands.terminal import print_findings
from opencode_exporter.source.locate import home_directory


@click.command()
@SOURCE
def check(*, source_path: tuple[Path, ...]) -> None:
    """Say whether each database can be read, and what to do if not."""
    from opencode_exporter.commands.check import examine  # noqa: PLC0415  # --help stays quick
    from opencode_exporter.source.locate import databases, label_sources  # noqa: PLC0415
    from opencode_exporter.source.opencode.source import Source  # noqa: PLC0415

    files = databases(source_path, os.environ, home_directory())
    findings = [examine(Source(path, label)) for label, path in label_sources(files).items()]
    print_findings(findings)
    if any(finding.problems for finding in findings):
        raise SystemExit(1)
