"""
The command line: commands, flags and exit codes.

Flags follow the exporters' grammar; a flag wins over the environment
(``OPENCODE_EXPORTER_*``), that over the configuration file, that over the default.
Exit codes: 0 done, 1 something is wrong, 2 the command line is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from opencode_exporter import __version__
from opencode_exporter.clock import SystemClock
from opencode_exporter.commands import config_file, logs
from opencode_exporter.commands.flag_types import Duration
from opencode_exporter.commands.flags import (
    BACKFILL,
    COUNTING,
    FILE,
    OTLP,
    PREFIX,
    REPORTING,
    SERVING,
    SOURCE,
    WEB,
    flag,
    flags,
    logging_flags,
)
from opencode_exporter.commands.streams import guard
from opencode_exporter.commands.terminal import ProgressBar, print_findings
from opencode_exporter.errors import ConfigError, ExporterError, printable
from opencode_exporter.expose.filters import Filters, NameFilter
from opencode_exporter.expose.otlp.target import SpanTarget, Target, span_target_of, target_of
from opencode_exporter.service.settings import DEFAULT_LISTEN, Settings, state_directory

log = logging.getLogger(__name__)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Let what is said of the command line be text alone, whatever stands in it."""
    try:
        yield
    except click.ClickException as err:
        err.message = printable(err.message, keep="\n")  # type: ignore[misc]  # it is shown as is
        raise


class _Commands(click.Group):
    """`serve` is what runs when no command is named."""

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        with _told():
            return super().make_context(*words, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _told():
            return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version", "--config.file"}
        first = next(iter(args), "")
        if ctx.resilient_parsing and not args:
            return super().parse_args(ctx, args)  # a shell completes the name of a command
        if first.split("=")[0] not in own and first not in self.commands:
            args = ["serve", *args]
        elif first.split("=")[0] == "--config.file":
            width = 1 if "=" in first else 2
            if len(args) == width or args[width] not in self.commands:
                args = [*args[:width], "serve", *args[width:]]
        return super().parse_args(ctx, args)


def _read_config(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is not None:
        ctx.default_map = config_file.defaults(path, _COMMANDS.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="opencode-exporter")
@click.option(
    "--config.file",
    "config_file",
    type=FILE,
    envvar=f"{PREFIX}_CONFIG_FILE",
    show_envvar=True,
    expose_value=False,
    is_eager=True,
    callback=_read_config,
    help="TOML file with defaults for flags.",
)
def _COMMANDS() -> None:  # noqa: N802  # a constant in all but syntax
    """
    Prometheus exporter for OpenCode: every skill and tool invocation, counted exactly once.

    Without a command it serves. Run a command with --help for its flags.
    """


def _paths(given: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(path.expanduser() for path in given)


def _filters(given: dict[str, Any]) -> Filters:
    """Return what is shown, by kind; a contradiction is the command line's fault."""
    kinds = {
        kind: NameFilter(given[f"{kind}_include"], given[f"{kind}_exclude"])
        for kind in ("tool", "skill")
    }
    try:
        return Filters(**kinds)
    except ConfigError as err:
        raise click.UsageError(str(err)) from err


def _settings(ledger: Path | None, given: dict[str, Any]) -> Settings:
    """Return the settings of a command from its flags."""
    web_config = (given["web_config_file"],) if given.get("web_config_file") else ()
    return Settings(
        source_paths=_paths(given["source_path"]),
        ledger_path=ledger,
        history=given.get("history", "count"),
        abandon_after_ms=given["abandon_after"],
        series_limit=given["labels_series_limit"],
        files_top=given["files_top"],
        project_names=given["labels_project"],
        since_ms=given.get("since") or 0,
        only_project=given.get("project") or "",
        filters=_filters(given),
        force_polling=given.get("watch_force_polling", False),
        poll_interval_ms=given.get("watch_interval", 30_000),
        listen=given.get("web_listen_address", (DEFAULT_LISTEN,)),
        allowed_hosts=given.get("web_allowed_host", ()),
        telemetry_path=given.get("web_telemetry_path", "/metrics"),
        created_timestamps=given.get("web_created_timestamps", False),
        web_config=next(iter(_paths(web_config)), None),
    )


def _ledger(given: dict[str, Any]) -> Path:
    path: Path = given["ledger_path"] or state_directory(os.environ, Path.home()) / "ledger.db"
    return path.expanduser()


@_COMMANDS.command()
@flags(COUNTING, SERVING, WEB, OTLP, logging_flags())
def serve(**given: Any) -> None:
    """Watch the databases and serve the metrics (the default)."""
    logs.configure(given["log_level"], given["log_format"])
    _serve(_settings(_ledger(given), given), given)


def _targets(given: dict[str, Any]) -> tuple[Target | None, SpanTarget | None]:
    """Return where to push; an environment that means nothing is like a flag that does not."""
    host_name = given["otlp_host_name"]
    try:
        return (
            target_of(os.environ, gen_ai=given["otlp_gen_ai"] == "on", host_name=host_name),
            span_target_of(os.environ, host_name=host_name) if given["otlp_traces"] else None,
        )
    except ConfigError as err:
        click.echo(f"opencode-exporter: {err}", err=True)
        raise SystemExit(2) from err


def _serve(settings: Settings, given: dict[str, Any]) -> None:
    from opencode_exporter.service.exporter import Exporter  # noqa: PLC0415  # --help stays quick
    from opencode_exporter.service.service import Service  # noqa: PLC0415

    target, traces = _targets(given)
    if given["otlp_traces"] and traces is None:
        log.warning("no spans are sent: the environment names no endpoint, or switches them off")

    async def run() -> None:
        with ProgressBar() as bar:
            exporter = Exporter(settings, os.environ, Path.home(), progress=bar.show)
            try:
                service = Service(exporter, target, traces)
            except BaseException:
                exporter.close()
                raise
            await service.run()

    asyncio.run(run())


@_COMMANDS.command()
@flags(COUNTING, logging_flags())
def once(**given: Any) -> None:
    """Read everything into memory, print the metrics, exit."""
    from opencode_exporter.service.exporter import Exporter  # noqa: PLC0415

    logs.configure(given["log_level"], given["log_format"])
    with ProgressBar() as bar:
        exporter = Exporter(_settings(None, given), os.environ, Path.home(), progress=bar.show)
        exporter.poll()
    click.echo(exporter.pages.metrics("").body, nl=False)
    exporter.close()
    if not all(health.up for health in exporter.poller.health.values()):
        raise SystemExit(1)


@_COMMANDS.command()
@flags(COUNTING, REPORTING, logging_flags("error"))
def report(**given: Any) -> None:
    """Print skills, tools, edits and models by use; needs no server."""
    from opencode_exporter.commands.report import Asked, figures, output  # noqa: PLC0415
    from opencode_exporter.service.exporter import Exporter  # noqa: PLC0415

    logs.configure(given["log_level"], given["log_format"])
    settings = _settings(None, given)
    with ProgressBar() as bar:
        exporter = Exporter(settings, os.environ, Path.home(), progress=bar.show)
        exporter.poll()
    snapshot, states = exporter.pages.snapshot().series, exporter.poller.health
    exporter.close()
    if any(health.is_read for health in states.values()):
        asked = Asked(SystemClock().now_ms(), settings.since_ms, settings.only_project)
        click.echo(
            output(figures(snapshot, asked), given["format"], given["top"], os.environ), nl=False
        )
    for label, health in states.items():
        if not health.up:
            click.echo(f"opencode-exporter: {label}: {health.problem}", err=True)
    if not all(health.up for health in states.values()):
        raise SystemExit(1)


@_COMMANDS.command()
@flags(BACKFILL, COUNTING, logging_flags())
def backfill(**given: Any) -> None:
    """
    Write the history before the first start for Prometheus.

    The exporter has to be stopped meanwhile, as it holds the ledger. Give the same flags as it
    has: then the last sample is the first value that it served.
    """
    from opencode_exporter.commands.backfill import Job, advice, run  # noqa: PLC0415

    logs.configure(given["log_level"], given["log_format"])
    job = Job(
        _ledger(given), given["output"], given["label"], given["step"] // 1000, given["until"] or 0
    )
    # What has been written by then is removed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    clock = SystemClock()
    with ProgressBar() as reading, ProgressBar("writing history", "samples") as writing:
        written = run(
            job,
            _settings(None, given),
            os.environ,
            Path.home(),
            clock,
            reading.show,
            partial(writing.show, job.labels["instance"]),
        )
    click.echo(advice(job, written, clock.now_ms()), err=True, nl=False)


@_COMMANDS.command()
@SOURCE
def check(source_path: tuple[Path, ...]) -> None:
    """Say whether each database can be read, and what to do if not."""
    from opencode_exporter.commands.check import examine  # noqa: PLC0415
    from opencode_exporter.service.poller import label_sources  # noqa: PLC0415
    from opencode_exporter.service.settings import sources  # noqa: PLC0415
    from opencode_exporter.source.opencode.source import Source  # noqa: PLC0415

    files, _ = sources(_paths(source_path), os.environ, Path.home())
    findings = [examine(Source(path, label)) for label, path in label_sources(files).items()]
    print_findings(findings)
    if any(finding.problems for finding in findings):
        raise SystemExit(1)


@_COMMANDS.command()
@flag(
    "--demo.generation",
    type=click.Choice(["v1", "v2"]),
    default="v2",
    help="Storage generation that the simulated agent writes: 1.x or 2.x.",
)
@flag("--demo.history", type=Duration(), default="3d", help="How much history there is first.")
@flag(
    "--demo.pace",
    type=click.FloatRange(min=0.01, max=100),
    default=1.0,
    help="How fast the simulated agent works.",
)
@flag("--demo.seed", type=int, default=1, help="Seed of the simulated agent.")
@flags(WEB, OTLP, logging_flags())
def demo(**given: Any) -> None:
    """Serve a temporary database on which a simulated agent works."""
    from opencode_exporter.commands.demo_source import demo_source  # noqa: PLC0415

    logs.configure(given["log_level"], given["log_format"])
    with demo_source(
        generation=given["demo_generation"],
        history_days=given["demo_history"] / 86_400_000,
        pace=given["demo_pace"],
        seed=given["demo_seed"],
    ) as directory:
        # The demo's skills lie beside its database, not in the user's home.
        os.environ["XDG_CONFIG_HOME"] = str(directory / "config")
        _serve(
            Settings(
                source_paths=(directory / "opencode.db",),
                ledger_path=directory / "ledger.db",
                listen=given["web_listen_address"],
                allowed_hosts=given["web_allowed_host"],
                telemetry_path=given["web_telemetry_path"],
                created_timestamps=given["web_created_timestamps"],
                web_config=given["web_config_file"],
            ),
            given,
        )


def main() -> None:
    """Run the command line; failures are one sentence on stderr."""
    guard()
    try:
        _COMMANDS(prog_name="opencode-exporter")
    except ExporterError as err:
        click.echo(f"opencode-exporter: {err}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)  # click does the same, but not for the completion of a shell
    except KeyboardInterrupt:
        sys.exit(130)
