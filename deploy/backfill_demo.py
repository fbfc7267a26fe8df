# ruff: noqa: INP001  # a script, in no package
"""
`make backfill-demo`: a year of a simulated agent, brought into Prometheus by `backfill`.

Does what a user does who has worked for a year before the exporter came: count, stop,
write the history, import it, go on. Ends when it is told to; what was written is gone
then. Nothing here knows a metric but the one that it shows.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import click
from stack import (
    HOST,
    NO_PROMETHEUS,
    Program,
    find,
    handle_signals,
    lay_out,
    prepare_to_start,
    prometheus,
    refuse_busy_ports,
    run_until_the_end,
)

from opencode_exporter.commands.demo_source import demo_source

RETENTION: Final = "2y"
SHOWN: Final = (
    "/graph?g0.expr=sum+by+(status)+(increase(opencode_tool_invocations_total[1d]))"
    "&g0.range_input={days}d&g0.tab=0"
)
_END_S: Final = 10


class Steps:
    """Says what is done, and how long it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Do one thing."""
        began = time.monotonic()
        yield
        click.echo(f"{time.monotonic() - began:6.1f} s  {what}")

    def total(self) -> None:
        """Say how long all of it took."""
        click.echo(f"{time.monotonic() - self._began:6.1f} s  in all")


def serving(source: Path, run: Path, port: int) -> Program:
    """Return the exporter on a source, as a user starts it."""
    command = [
        *(sys.executable, "-P", "-m", "opencode_exporter", "serve", "--log.level=warning"),
        *(f"--source.path={source}", f"--ledger.path={run / 'ledger.db'}"),
        f"--web.listen-address={HOST}:{port}",
    ]
    return Program("exporter", command, port, 10777, "/metrics")


def count(exporter: Program) -> None:
    """Run the exporter until it has counted the history, then end it."""
    with subprocess.Popen(exporter.command) as process:  # noqa: S603  # our own module, no shell
        try:
            while not exporter.is_ready():
                with suppress(subprocess.TimeoutExpired):
                    if process.wait(0.1):
                        raise click.ClickException("The exporter ended. See above for why.")
            process.terminate()
            process.wait(_END_S)
        finally:
            process.kill()


def write(source: Path, run: Path, port: int, step: str) -> str:
    """Write the history; return the command that brings it into Prometheus."""
    command = [
        *(sys.executable, "-P", "-m", "opencode_exporter", "backfill", "--log.level=warning"),
        *(f"--source.path={source}", f"--ledger.path={run / 'ledger.db'}"),
        *("--label=job=opencode", f"--label=instance={HOST}:{port}", f"--step={step}"),
        f"--output={run / 'history.om'}",
    ]
    done = subprocess.run(  # noqa: S603  # as above
        command, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(done.stderr.strip())
    click.echo(done.stderr.splitlines()[0])
    found = re.search(r"^ +(promtool .*)$", done.stderr.replace("\\\n", " "), re.MULTILINE)
    return found[1] if found else ""


def take_in(command: str, run: Path, promtool: str) -> None:
    """Make blocks of the history, where Prometheus will keep its own."""
    data = run / "data" / "prometheus"
    words = shlex.split(command.replace("DATA_DIRECTORY_OF_PROMETHEUS", str(data)))
    done = subprocess.run(  # noqa: S603  # what `backfill` tells its user to do
        [promtool, *words[1:]], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException((done.stdout + done.stderr).strip())
    (run / "history.om").unlink()


@click.command()
@click.option("--days", default=365, show_default=True, help="How far the past reaches back.")
@click.option("--sessions-a-day", default=10.0, show_default=True, help="How busy it was.")
@click.option("--generation", type=click.Choice(["v1", "v2"]), default="v2", show_default=True)
@click.option("--step", default="2h", show_default=True, help="Time between samples.")
@click.option("--exporter-port", default=10777, show_default=True, help="Port of the exporter.")
@click.option("--prometheus-port", default=9090, show_default=True, help="Port of Prometheus.")
def main(
    days: int,
    sessions_a_day: float,
    generation: str,
    step: str,
    exporter_port: int,
    prometheus_port: int,
) -> None:
    """Bring a year before the exporter into Prometheus, then serve and scrape what follows."""
    prepare_to_start()
    handle_signals()
    server, promtool = find("prometheus"), find("promtool")
    if server is None or promtool is None:
        raise click.ClickException(NO_PROMETHEUS)
    with ExitStack() as ending:
        folder = tempfile.TemporaryDirectory(
            prefix="opencode-backfill-", ignore_cleanup_errors=True
        )
        run, steps = Path(ending.enter_context(folder)), Steps()
        watching = prometheus(
            server, run, prometheus_port, page=SHOWN.format(days=days), retention=RETENTION
        )
        refuse_busy_ports([watching, serving(run, run, exporter_port)])
        with steps.step(f"an agent works for {days} days"):
            agent = demo_source(
                generation=generation,
                history_days=days,
                pace=1,
                seed=1,
                sessions_a_day=sessions_a_day,
                within=run,
            )
            source = ending.enter_context(agent) / "opencode.db"
        exporter = serving(source, run, exporter_port)
        lay_out(run, [exporter, watching])
        with steps.step("the exporter counts all of it"):
            count(exporter)
        with steps.step("backfill writes the history"):
            command = write(source, run, exporter_port, step)
        with steps.step("promtool makes blocks of it"):
            take_in(command, run, promtool)
        steps.total()
        stack = run_until_the_end([exporter, watching], run)
    if stack.ended:
        raise click.ClickException(f"{stack.ended} ended, so everything did. See above for why.")


if __name__ == "__main__":
    main()
