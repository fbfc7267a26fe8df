"""
Groups: every flag, declared once, in the groups in which commands take them.

A flag is named after its subject, with dots, and its environment variable after the
flag.  Knows no command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from opencode_exporter.commands.flags.fields import default_of
from opencode_exporter.commands.flags.value_types import (
    Duration,
    Label,
    Pattern,
    Since,
    UserPath,
    labels_of_a_scrape,
    named_file,
    whole_seconds,
)

Command = TypeVar("Command", bound=Callable[..., Any])
PREFIX: Final = "OPENCODE_EXPORTER"


def flag(name: str, **more: Any) -> Callable[[Command], Command]:
    """
    Declare a dotted flag (``--a/--no-a``: with its opposite) and the variable named after it.

    Its default is that of its field in the settings, unless another is given.
    """
    own, _, _ = name.removeprefix("--").partition("/")
    variable = own.replace(".", "_").replace("-", "_")
    if (default := default_of(variable)) is not None:
        more.setdefault("default", default)
    more.setdefault("show_default", True)
    return click.option(
        name, variable, envvar=f"{PREFIX}_{variable.upper()}", show_envvar=True, **more
    )


def flags(*several: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Declare several flags, in this order."""

    def declare(command: Command) -> Command:
        for one in reversed(several):
            command = one(command)
        return command

    return declare


SOURCE = flag(
    "--source.path",
    type=UserPath(),
    multiple=True,
    help="Database, or directory of databases; may be repeated (in the environment: separated "
    "as in PATH). Default: $OPENCODE_DB, else every opencode*.db of OpenCode's data directory.",
)


def _filter_flags(kind: str) -> Callable[[Command], Command]:
    include, exclude = f"--{kind}.include", f"--{kind}.exclude"
    return flags(
        flag(
            include,
            type=Pattern(),
            help=f"Regular expression of the {kind}s to show, all others being left out; it has to "
            f"match the whole name. Not together with {exclude}.",
        ),
        flag(
            exclude,
            type=Pattern(),
            help=f"Regular expression of the {kind}s to leave out; it has to match the whole name. "
            f"They go on being counted. Not together with {include}.",
        ),
    )


COUNTING = flags(
    SOURCE,
    flag(
        "--abandon-after",
        type=Duration(),
        help="How long an open invocation may stay without a change before it is abandoned.",
    ),
    flag(
        "--labels.series-limit",
        type=click.IntRange(min=100),
        help="Most series per metric; what is beyond goes to _other.",
    ),
    flag(
        "--files.top",
        type=click.IntRange(0, 100),
        help="Show so many of the files that were edited most in the last 7 days, by path; "
        "0: none, and what was kept of paths is deleted.",
    ),
    flag(
        "--labels.project",
        type=click.Choice(["name", "hash", "off"]),
        help="How projects are shown: the worktree's last component, a salted hash, or not.",
    ),
    _filter_flags("tool"),
    _filter_flags("skill"),
)


def logging_flags(level: str = "info") -> Callable[[Command], Command]:
    """Declare the flags of logging, with the level that is the command's default."""
    return flags(
        flag(
            "--log.level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default=level,
            help="Least severe level that is logged.",
        ),
        flag(
            "--log.format",
            type=click.Choice(["auto", "logfmt", "json"]),
            default="auto",
            help="auto: logfmt on a terminal, JSON elsewhere.",
        ),
    )


WEB = flags(
    flag(
        "--web.listen-address",
        multiple=True,
        help="Address to listen on, such as :10777 or [::1]:10777; may be repeated.",
    ),
    flag(
        "--web.allowed-host",
        multiple=True,
        help="Name under which it may be asked, such as metrics.example.com; may be repeated. "
        "*.example.com: every name below it, *: any. On loopback addresses it answers to "
        "addresses, localhost and this machine's own names alone, and on others to any name "
        "unless this flag is given.",
    ),
    flag("--web.telemetry-path", help="Path of the metrics."),
    flag(
        "--web.created-timestamps/--no-web.created-timestamps",
        help="Say on OpenMetrics pages since when each series counts, as _created samples. "
        "Prometheus stores them as extra series unless it is told otherwise.",
    ),
    flag(
        "--web.config.file",
        type=UserPath(),
        help="TLS and basic auth, in the exporter-toolkit's format.",
    ),
)
LEDGER = flag(
    "--ledger.path",
    type=UserPath(),
    help="The ledger. Default: $XDG_STATE_HOME/opencode-exporter/ledger.db, else under "
    "~/.local/state.",
)
SERVING = flags(
    LEDGER,
    flag(
        "--history",
        type=click.Choice(["count", "skip"]),
        help="Whether invocations from before the first start count.",
    ),
    flag(
        "--watch.interval",
        type=Duration(),
        help="Poll this often also when no change is reported.",
    ),
    flag(
        "--watch.force-polling",
        is_flag=True,
        help="Look at the files instead of waiting to be told of changes (network shares).",
    ),
)
OTLP = flags(
    flag(
        "--otlp.gen-ai",
        type=click.Choice(["on", "off"]),
        default="on",
        help="Whether a push over OTLP has gen_ai.execute_tool.duration of the GenAI conventions, "
        "too. It pushes where OTEL_EXPORTER_OTLP_ENDPOINT says.",
    ),
    flag(
        "--otlp.host-name",
        is_flag=True,
        help="Push the name of this machine as host.name of the resource.",
    ),
    flag(
        "--otlp.traces",
        is_flag=True,
        help="Send each invocation that ends as a span over OTLP, too, and show its trace as an "
        "exemplar on OpenMetrics pages.",
    ),
)
REPORTING = flags(
    flag(
        "--since",
        type=Since(),
        help="Leave out what happened before: a duration such as 7d or 24h, or a date or time such "
        "as 2026-11-01, of this machine's time zone.",
    ),
    flag("--project", help="Leave out all projects but the one of this name."),
    flag(
        "--top",
        type=click.IntRange(min=1),
        default=10,
        help="Most rows of a table on the terminal; JSON has all.",
    ),
    flag(
        "--format",
        type=click.Choice(["terminal", "json"]),
        default="terminal",
        help="A page to read, or the same figures for programs.",
    ),
)
BACKFILL = flags(
    LEDGER,
    flag(
        "--output",
        required=True,
        type=UserPath(allow_dash=True, dir_okay=False),
        callback=named_file,
        help="File to write; - for standard output.",
    ),
    flag(
        "--label",
        multiple=True,
        type=Label(),
        callback=labels_of_a_scrape,
        help="Label of every series, as name=value; may be repeated. job and instance are "
        "needed, as Prometheus has them for the exporter.",
    ),
    flag(
        "--step",
        type=Duration(),
        default="30m",
        callback=whole_seconds,
        help="Time between samples. Graphs need two of them to a point; half of it makes the "
        "file twice as large.",
    ),
    flag(
        "--until",
        type=Since(),
        help="End earlier than when the exporter began to count: how long ago, or a date or time "
        "of this machine's time zone.",
    ),
)
