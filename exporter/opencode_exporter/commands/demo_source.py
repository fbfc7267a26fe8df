"""
The demo's source: a simulated agent in a process of its own, as in real life.

The agent ends with this process: its standard input closes then.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from opencode_exporter.errors import ExporterError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def demo_source(
    *,
    generation: str,
    history_days: float,
    pace: float,
    seed: int,
    sessions_a_day: float = 0,
    within: Path | None = None,
) -> Iterator[Path]:
    """
    Start an agent on a temporary database, and yield the database's directory.

    Args:
        generation: The storage generation that it writes.
        history_days: How far its history reaches back.
        pace: How fast it works.
        seed: Chooses its work.
        sessions_a_day: How busy its history was; 0: as usual.
        within: The parent of the directory; None: where temporary files are.

    Raises:
        ExporterError: The agent did not start.
    """
    # Until the service listens to signals itself: the directory has to be removed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    busy = [f"--sessions-a-day={sessions_a_day}"] if sessions_a_day else []
    with tempfile.TemporaryDirectory(prefix="opencode-exporter-demo-", dir=within) as name:
        words = [
            f"--directory={name}",
            f"--generation={generation}",
            f"--history-days={history_days}",
            f"--pace={pace}",
            f"--seed={seed}",
            *busy,
        ]
        with _agent(words) as invocations:
            log.info("agent works", extra={"invocations_so_far": invocations})
            yield Path(name)


@contextlib.contextmanager
def _agent(words: Sequence[str]) -> Iterator[int]:
    """Run the agent until the block ends; yield how many invocations its history has."""
    agent = subprocess.Popen(  # noqa: S603  # our own module, no shell
        # -P: nothing is imported from where the user stands
        [sys.executable, "-P", "-m", "opencode_exporter.demo", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us; the agent ends with its input
    )
    try:
        ready = agent.stdout.readline() if agent.stdout else ""
        if not ready.startswith("ready"):
            raise ExporterError("the demo's agent did not start", hint="see its message above")
        yield int(ready.split()[1])
    finally:
        if agent.stdin:
            agent.stdin.close()
        try:
            agent.wait(timeout=5)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()
        if agent.stdout:
            agent.stdout.close()
