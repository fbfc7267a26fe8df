"""
The exporter as users run it: a process of its own, seen over HTTP alone.

It can be killed and started again on the same ledger and address, and it is
gone when its block ends. Nothing here knows what a test asserts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx

from harness.exporters import Exposed
from harness.processes.ports import free_port
from harness.processes.process import Process
from harness.waiting import PATIENCE_S


class Served(Process):
    """
    `opencode-exporter serve` over one database.

    Args:
        source: The database.
        directory: Where its ledger and its log go.
        more: Further flags.
        home: The home of who runs it.
        python: The Python of the environment that it is installed in.

    Attributes:
        target: Host and port, as Prometheus wants them.
    """

    def __init__(
        self,
        source: Path,
        directory: Path,
        *more: str,
        home: Path,
        python: str | Path = sys.executable,
    ) -> None:
        self.target = f"127.0.0.1:{free_port()}"
        command = [
            *(python, "-m", "opencode_exporter", "serve"),
            *("--source.path", source),
            *("--ledger.path", directory / "ledger.db"),
            *("--web.listen-address", self.target),
            *more,
        ]
        # The skills on disk are those of the home in which OpenCode runs.
        own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
        inherited = {key: text for key, text in os.environ.items() if "OPENCODE" not in key}
        super().__init__(command, directory / "log", environment={**inherited, **own})
        self._client = httpx.Client(
            base_url=f"http://{self.target}",
            trust_env=False,
            timeout=PATIENCE_S,
            headers={"accept": "*/*"},
        )

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Request a path; an underscore in a header's name stands for a dash."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.get(path, headers=given)

    def page(self) -> Exposed:
        """Return the page of metrics as it is served now."""
        return Exposed(self.get("/metrics").text)

    def is_ready(self) -> bool:
        """Return whether it says that the history is in."""
        return self.get("/-/ready").status_code == 200

    def is_up(self) -> bool:
        """Return whether it answers."""
        try:
            return self.get("/-/healthy").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """End it and the connections to it; safe to call again."""
        self._client.close()
        super().close()
