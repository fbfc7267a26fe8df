"""
The command line: its commands, its configuration file and its exit codes.

A flag wins over the environment (``OPENCODE_EXPORTER_*``), that over the configuration
file, that over the default.  Exit codes: 0 done, 1 something is wrong, 2 the command
line is.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click_default_group import DefaultGroup  # type: ignore[import-untyped]

from opencode_exporter import __version__
from opencode_exporter.commands.backfill_command import backfill
from opencode_exporter.commands.check_command import check
from opencode_exporter.commands.demo import demo
from opencode_exporter.commands.flags import config_file
from opencode_exporter.commands.flags.groups import PREFIX
from opencode_exporter.commands.flags.value_types import UserPath
from opencode_exporter.commands.once import once
from opencode_exporter.commands.report_command import report
from opencode_exporter.commands.serve import serve
from opencode_exporter.commands.streams import guard
from opencode_exporter.errors import ExporterError, printable


@contextlib.contextmanager
def _printable_errors() -> Iterator[None]:
    """Make the message of a bad command line printable, whatever its words hold."""
    try:
        yield
    except click.ClickException as err:
        err.message = printable(err.message, keep="\n")  # type: ignore[misc]  # it is shown as is
        raise


class _Group(DefaultGroup):  # type: ignore[misc]  # the library has no types
    """The group of commands; a command line without a command serves."""

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        with _printable_errors():
            context: click.Context = super().make_context(*words, **more)
            return context

    def invoke(self, ctx: click.Context) -> Any:
        with _printable_errors():
            return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # a shell completes the name of a command
            return click.Group.parse_args(self, ctx, args)
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


def _read_config(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is not None:
        ctx.default_map = config_file.defaults(path, cli.commands)


@click.group(
    cls=_Group,
    default="serve",
    default_if_no_args=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="opencode-exporter")
@click.option(
    "--config.file",
    "config_file",
    type=UserPath(),
    envvar=f"{PREFIX}_CONFIG_FILE",
    show_envvar=True,
    expose_value=False,
    is_eager=True,
    callback=_read_config,
    help="TOML file with defaults for flags.",
)
def cli() -> None:
    """
    Prometheus exporter for OpenCode: every skill and tool invocation, counted exactly once.

    Without a command it serves. Run a command with --help for its flags.
    """


for _command in (serve, once, report, backfill, check, demo):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; failures are one sentence on stderr."""
    guard()
    try:
        cli(prog_name="opencode-exporter")
    except ExporterError as err:
        click.echo(f"opencode-exporter: {err}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)  # click does the same, but not for the completion of a shell
    except KeyboardInterrupt:
        sys.exit(130)
