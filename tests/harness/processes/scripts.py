"""
A script of deploy/ that runs several programs, in a process of its own.

All that it starts has ended when its block has. Nothing here knows what a test asserts.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from harness.places import DEPLOY
from harness.processes.prometheus import free_port
from harness.support import wait_for

STACK = "stack.py"


class Stack:
    """
    The script in a process of its own, with ports and a temporary folder of its own.

    It is one of deploy/, or of a copy of that if it is a whole path; ``within`` is where the
    user stands.
    """

    def __init__(
        self,
        directory: Path,
        script: str = STACK,
        *words: str,
        within: Path | None = None,
        **environment: str,
    ) -> None:
        also = ["alertmanager"] if Path(script).name == STACK else []
        programs = ("exporter", "prometheus", *also)
        self.ports = {name: free_port() for name in programs}
        self._words = [str(DEPLOY / script), *words]
        self._within = within
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        self._log = directory / "log"
        self._environment = {**os.environ, "TMPDIR": str(self.temporary), **environment}
        self.process: subprocess.Popen[bytes]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and see to it that it has ended after the block."""
        ports = [f"--{name}-port={port}" for name, port in self.ports.items()]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self._words, *ports],
                cwd=self._within,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            self.process.kill()
            self.process.wait()
            for pid in self.pids().values():
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        """What it has written."""
        return self._log.read_text("utf-8")

    def says(self, text: str) -> None:
        """Wait until it writes something."""
        wait_for(lambda: text in self.said or self.process.poll() is not None, 60)
        assert text in self.said, self.said

    def pids(self) -> dict[str, int]:
        """Return the processes of the programs that were started."""
        return {name: int(pid) for name, pid in re.findall(r"(\w+) started \(pid=(\d+)", self.said)}

    def leaves_nothing(self) -> bool:
        """Return whether its programs, and what they wrote, are gone."""
        return not any(map(is_alive, self.pids().values())) and not list(self.temporary.iterdir())

    def alerts(self) -> list[dict[str, str]]:
        """Return the labels of the alerts that Alertmanager has."""
        url = f"http://127.0.0.1:{self.ports['alertmanager']}/api/v2/alerts"
        return [alert["labels"] for alert in httpx.get(url, trust_env=False).json()]

    def prometheus(self, path: str) -> Any:
        """Return what Prometheus answers."""
        url = f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/{path}"
        return httpx.get(url, trust_env=False).json()["data"]


def is_alive(pid: int) -> bool:
    """Return whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
