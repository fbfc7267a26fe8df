"""The command ``serve``, and how any command serves until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click

from opencode_exporter.commands import logs
from opencode_exporter.commands.flags.fields import ledger_at, settings_of
from opencode_exporter.commands.flags.groups import (
    COUNTING,
    OTLP,
    SERVING,
    WEB,
    flags,
    logging_flags,
)
from opencode_exporter.commands.terminal import ProgressBar
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.otlp.target import SpanTarget, Target, span_target_of, target_of
from opencode_exporter.service.settings import Settings
from opencode_exporter.source.locate import home_directory

log = logging.getLogger(__name__)


class PushTargets(NamedTuple):
    """Where metrics and spans are pushed; None: nowhere."""

    metrics: Target | None
    spans: SpanTarget | None


@click.command()
@flags(COUNTING, SERVING, WEB, OTLP, logging_flags())
def serve(
    *,
    ledger_path: Path | None,
    otlp_gen_ai: Literal["on", "off"],
    otlp_host_name: bool,
    otlp_traces: bool,
    log_level: str,
    log_format: logs.LogFormat,
    **given: Any,
) -> None:
    """Watch the databases and serve the metrics (the default)."""
    # Who asks for a reload this early gets it: nothing is read yet.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.configure(log_level, log_format)
    settings = settings_of(given, ledger_at(ledger_path))
    targets = push_targets(gen_ai=otlp_gen_ai, host_name=otlp_host_name, traces=otlp_traces)
    serve_until_stopped(settings, os.environ, targets)


def push_targets(*, gen_ai: Literal["on", "off"], host_name: bool, traces: bool) -> PushTargets:
    """Return where the environment says to push; one that cannot be used exits as a bad flag."""
    try:
        targets = PushTargets(
            target_of(os.environ, gen_ai=gen_ai == "on", host_name=host_name),
            span_target_of(os.environ, host_name=host_name) if traces else None,
        )
    except ConfigError as err:
        click.echo(f"opencode-exporter: {err}", err=True)
        raise SystemExit(2) from err
    if traces and targets.spans is None:
        log.warning("no spans are sent: the environment names no endpoint, or switches them off")
    return targets


def serve_until_stopped(
    settings: Settings, environ: Mapping[str, str], targets: PushTargets
) -> None:
    """Serve and push until a signal ends the process."""
    from opencode_exporter.service.exporter import Exporter  # noqa: PLC0415  # --help stays quick
    from opencode_exporter.service.service import Service  # noqa: PLC0415

    async def run() -> None:
        with ProgressBar() as bar:
            exporter = Exporter(settings, environ, home_directory(), progress=bar.show)
            try:
                service = Service(exporter, targets.metrics, targets.spans)
            except BaseException:
                exporter.close()
                raise
            await service.run()

    asyncio.run(run())
