"""
The command as users start it: a process with a home of its own.

Everything it starts has ended when its block has.  Nothing here knows what a
test asserts.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.markers import demand_time
from harness.processes.process import Process
from harness.waiting import wait_for

ANYWHERE = ("--web.listen-address", "127.0.0.1:0")


class Place:
    """A home of its own, in which the real command runs."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.source = directory / "data" / "opencode.db"
        self.log = directory / "log"
        self.home.mkdir()

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return an environment that says nothing of OpenCode but what is given."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENCODE", "XDG_"))}
        return {**kept, "HOME": str(self.home), **(more or {})}

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        demand_time()
        return subprocess.run(
            [sys.executable, "-m", "opencode_exporter", *words],
            capture_output=True,
            text=True,
            env=self.environment(variables),
            check=False,
            timeout=60,
        )

    @contextlib.contextmanager
    def running(self, *words: str, **variables: str) -> Iterator[tuple[Process, str]]:
        """Run the command until the block ends; yield it and where it listens."""
        self.log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "opencode_exporter", *words]
        with Process(command, self.log, environment=self.environment(variables)) as process:
            wait_for(lambda: not process.is_running or "listening" in process.log)
            yield process, " ".join(re.findall(r"http://[\d.:]+", process.log))
