# ruff: noqa: INP001  # a script, in no package
"""
`make stack`: the exporter on a demo source, Prometheus and Alertmanager, in one terminal.

Starts them on this machine with the committed configuration, and ends them together;
what they write is gone then. Nothing here knows a metric or a rule, and of the alerts
only which one is seen first.
"""

from __future__ import annotations

import multiprocessing
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, NamedTuple

import click
import yaml
from honcho.manager import SIGNALS, Manager  # type: ignore[import-untyped]

HERE: Final = Path(__file__).parent
HOST: Final = "127.0.0.1"
DASHBOARDS: Final = (
    "The dashboards are for Grafana: Dashboards > New > Import, a file of grafana/dashboards, "
    "and this Prometheus as the data source."
)
ALERT: Final = (
    "Within five minutes the alert OpenCodeSkillFailing fires: the skill frontend-review, which "
    "always loaded in the demo's past, no longer does. See {}."
)

NO_PROMETHEUS: Final = (
    "Prometheus is not installed. On Debian and Ubuntu: apt install prometheus; "
    "on macOS: brew install prometheus."
)
NO_ALERTMANAGER: Final = (
    "Alertmanager is not installed, so alerts are shown by Prometheus alone. "
    "On Debian and Ubuntu: apt install prometheus-alertmanager."
)


class Program(NamedTuple):
    """
    One program of the stack.

    Attributes:
        port: Where it listens, on loopback.
        shipped_port: The port that the committed files name.
        page: What a person opens.
    """

    name: str
    command: list[str]
    port: int
    shipped_port: int
    page: str = "/"

    @property
    def url(self) -> str:
        """What a person opens."""
        return f"http://{HOST}:{self.port}{self.page}"

    def is_ready(self) -> bool:
        """Return whether it says that it is."""
        connection = HTTPConnection(HOST, self.port, timeout=2)
        with suppress(OSError, HTTPException):
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == 200
        return False


class Stack(Manager):  # type: ignore[misc]  # honcho has no types
    """
    Programs that end together.

    honcho cannot end a program whose process id it was not told yet, and falls over a
    signal that comes so early. Here such a signal waits until all have started.

    Attributes:
        ended: The program that ended by itself first, empty if none did.
    """

    ended = ""

    def terminate(self) -> None:
        """Ask all programs to end, as soon as they can be asked."""
        if self._all_started():
            super().terminate()

    def _any_stopped(self) -> bool:
        stopped = [name for name, one in self._processes.items() if "returncode" in one]
        if stopped and not self.is_asked_to_end:
            self.ended = self.ended or stopped[0]
        return bool(stopped) or self.is_asked_to_end

    @property
    def is_asked_to_end(self) -> bool:
        """Whether a signal came."""
        return self.returncode in {known["rc"] for known in SIGNALS.values()}


def find(*names: str) -> str | None:
    """Return the path of a program that distributions name differently."""
    return next(filter(None, map(shutil.which, names)), None)


def exporter(port: int) -> Program:
    """Return the exporter with its simulated agent."""
    command = [sys.executable, "-P", "-m", "opencode_exporter", "demo", "--log.level=warning"]
    command.append(f"--web.listen-address={HOST}:{port}")
    return Program("exporter", command, port, 10777, "/metrics")


def prometheus(
    path: str, run: Path, port: int, *, page: str = "/", retention: str = "15d"
) -> Program:
    """Return Prometheus, which finds all else in the folder."""
    command = [
        *(path, "--log.level=warn", f"--config.file={run / 'prometheus' / 'prometheus.yml'}"),
        f"--storage.tsdb.path={run / 'data' / 'prometheus'}",
        f"--storage.tsdb.retention.time={retention}",
        f"--web.listen-address={HOST}:{port}",
    ]
    return Program("prometheus", command, port, 9090, page)


def alertmanager(path: str, run: Path, port: int) -> Program:
    """Return Alertmanager with the committed routes."""
    command = [
        *(path, "--log.level=warn", f"--config.file={HERE / 'alertmanager' / 'alertmanager.yml'}"),
        f"--storage.path={run / 'data' / 'alertmanager'}",
        f"--web.listen-address={HOST}:{port}",
        "--cluster.listen-address=",  # it is alone
    ]
    return Program("alertmanager", command, port, 9093)


def programs(run: Path, ports: Mapping[str, int]) -> list[Program]:
    """
    Return what is started.

    Raises:
        click.ClickException: There is no Prometheus.
    """
    found = [exporter(ports["exporter"])]
    path = find("prometheus")
    if path is None:
        raise click.ClickException(NO_PROMETHEUS)
    found.append(prometheus(path, run, ports["prometheus"]))
    if path := find("prometheus-alertmanager", "alertmanager"):
        found.append(alertmanager(path, run, ports["alertmanager"]))
    else:
        click.echo(NO_ALERTMANAGER)
    return found


def lay_out(run: Path, started: list[Program]) -> None:
    """Write Prometheus' configuration as it is committed, with what is started as targets."""
    shutil.copytree(HERE / "prometheus", run / "prometheus", ignore=lambda *_: {"targets"})
    (run / "prometheus" / "targets").mkdir()
    (run / "data").mkdir()
    where = {f"{HOST}:{one.shipped_port}": f"{HOST}:{one.port}" for one in started}
    for committed in sorted((HERE / "prometheus" / "targets" / "native").glob("*.yml")):
        listed = yaml.safe_load(committed.read_text("utf-8"))
        for group in listed:
            group["targets"] = [where[target] for target in group["targets"] if target in where]
        target = run / "prometheus" / "targets" / committed.name
        target.write_text(yaml.safe_dump(listed), "utf-8")


def refuse_busy_ports(started: list[Program]) -> None:
    """
    Look whether every port is free, before anything is started.

    Raises:
        click.ClickException: One is in use.
    """
    for program in started:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, program.port))
            except OSError:
                raise click.ClickException(
                    f"Port {program.port} is in use: end what listens there, or choose "
                    f"another with --{program.name}-port."
                ) from None


def greet(started: list[Program], remarks: tuple[str, ...], is_over: threading.Event) -> None:
    """Say where everything is, once it answers, and what there is to see."""
    while not all(program.is_ready() for program in started):
        if is_over.wait(0.2):
            return
    lines = [f"  {program.name:<13} {program.url}" for program in started]
    click.echo("\n".join(["", "Ready. Ctrl-C ends it.", *lines, *remarks, DASHBOARDS, ""]))


def run_until_the_end(started: list[Program], run: Path, *remarks: str) -> Stack:
    """Run the programs until a signal comes or one of them ends; `remarks` are said at first."""
    stack, is_over = Stack(), threading.Event()
    # The demo's database goes with the folder, also if the exporter had no time to remove it.
    environment = {**os.environ, "TMPDIR": str(run / "data")}
    for program in started:
        command = f"exec {shlex.join(program.command)}"
        stack.add_process(program.name, command, env=environment)
    greeting = threading.Thread(target=greet, args=(started, remarks, is_over))
    greeting.start()
    try:
        stack.loop()
    finally:
        is_over.set()
        greeting.join()
    return stack


def prepare_to_start() -> None:
    """Let programs start beside a thread, and import nothing from where the user stands."""
    # A fork could copy a lock that the thread holds.
    multiprocessing.set_start_method("spawn")
    # multiprocessing starts `python -c`, which looks for modules in the current directory first.
    os.environ["PYTHONSAFEPATH"] = "1"


def handle_signals() -> None:
    """End in order from the first moment on, and when the terminal is closed as well."""
    for name in SIGNALS:
        signal.signal(name, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


@click.command()
@click.option("--exporter-port", default=10777, show_default=True, help="Port of the exporter.")
@click.option("--prometheus-port", default=9090, show_default=True, help="Port of Prometheus.")
@click.option("--alertmanager-port", default=9093, show_default=True, help="Port of Alertmanager.")
def main(**ports: int) -> None:
    """Serve a demo source, scrape it, and watch over it: all on this machine, on loopback."""
    prepare_to_start()
    handle_signals()
    by_name = {option.removesuffix("_port"): port for option, port in ports.items()}
    with tempfile.TemporaryDirectory(prefix="opencode-stack-", ignore_cleanup_errors=True) as name:
        started = programs(Path(name), by_name)
        refuse_busy_ports(started)
        lay_out(Path(name), started)
        shown = (f"{one.url}alerts" if one.name == "prometheus" else one.url for one in started[1:])
        stack = run_until_the_end(started, Path(name), ALERT.format(" and ".join(shown)))
    if stack.ended:
        raise click.ClickException(f"{stack.ended} ended, so everything did. See above for why.")


if __name__ == "__main__":
    main()
