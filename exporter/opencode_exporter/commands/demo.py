"""The command ``demo``: a server over a temporary database on which a simulated agent works."""

from __future__ import annotations

import os
from typing import Any, Literal

import click

from opencode_exporter.commands import logs
from opencode_exporter.commands.flags.fields import settings_of
from opencode_exporter.commands.flags.groups import OTLP, WEB, flag, flags, logging_flags
from opencode_exporter.commands.flags.value_types import Duration, Number
from opencode_exporter.commands.serve import push_targets, serve_until_stopped

_DAY_MS = 86_400_000


@click.command()
@flag(
    "--demo.generation",
    type=click.Choice(["v1", "v2"]),
    default="v2",
    help="Storage generation that the simulated agent writes: 1.x or 2.x.",
)
@flag("--demo.history", type=Duration(), default="3d", help="How much history there is first.")
@flag(
    "--demo.pace",
    type=Number(min=0.01, max=100),
    default=1.0,
    help="How fast the simulated agent works.",
)
@flag("--demo.seed", type=int, default=1, help="Seed of the simulated agent.")
@flags(WEB, OTLP, logging_flags())
def demo(
    *,
    demo_generation: str,
    demo_history: int,
    demo_pace: float,
    demo_seed: int,
    otlp_gen_ai: Literal["on", "off"],
    otlp_host_name: bool,
    otlp_traces: bool,
    log_level: str,
    log_format: logs.LogFormat,
    **given: Any,
) -> None:
    """Serve a temporary database on which a simulated agent works."""
    from opencode_exporter.commands.demo_source import (  # noqa: PLC0415  # --help stays quick
        demo_source,
    )

    logs.configure(log_level, log_format)
    targets = push_targets(gen_ai=otlp_gen_ai, host_name=otlp_host_name, traces=otlp_traces)
    with demo_source(
        generation=demo_generation,
        history_days=demo_history / _DAY_MS,
        pace=demo_pace,
        seed=demo_seed,
    ) as directory:
        given["source_path"] = (directory / "opencode.db",)
        # The demo's skills lie beside its database, not in the user's home.
        environ = {**os.environ, "XDG_CONFIG_HOME": str(directory / "config")}
        serve_until_stopped(settings_of(given, directory / "ledger.db"), environ, targets)
