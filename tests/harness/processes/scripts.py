"""
A script of deploy/ that runs several programs, in a process of its own.

All that it starts has ended when its block has. Nothing here knows what a test asserts.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from harness.places import DEPLOY
from harness.processes.ports import free_port
from harness.processes.process import Process
from harness.waiting import wait_for

STACK = "stack.py"


class Stack(Process):
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
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        super().__init__(
            [sys.executable, DEPLOY / script, *words],
            directory / "log",
            environment={**os.environ, "TMPDIR": str(self.temporary), **environment},
            within=within,
        )

    def launch(self) -> None:
        """Start it on its ports."""
        self.command += [f"--{name}-port={port}" for name, port in self.ports.items()]
        super().launch()

    def close(self) -> None:
        """End it, and all that it started."""
        super().close()
        for pid in self.pids().values():
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def says(self, text: str) -> None:
        """Wait until it writes something."""
        wait_for(lambda: text in self.log or not self.is_running)
        assert text in self.log, self.log

    def pids(self) -> dict[str, int]:
        """Return the processes of the programs that were started."""
        return {name: int(pid) for name, pid in re.findall(r"(\w+) started \(pid=(\d+)", self.log)}

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
