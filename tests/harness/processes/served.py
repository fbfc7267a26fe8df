"""
The exporter as users run it: a process of its own, seen over HTTP alone.

It can be killed and started again on the same ledger and address, and it is
gone when its block ends. Nothing here knows what a test asserts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from harness.processes.prometheus import free_port
from harness.support import PATIENCE_S, Exposed, wait_for


class Served:
    """
    `opencode-exporter serve` over one database. Use it as a context manager.

    Args:
        source: The database.
        directory: Where its ledger and its log go.
        more: Further flags.
        home: The home of who runs it.
        python: The Python of the environment that it is installed in.

    Attributes:
        target: Host and port, as Prometheus wants them.
        process: The running process, or the last one that ran.
    """

    def __init__(
        self,
        source: Path,
        directory: Path,
        *more: str,
        home: Path,
        python: str | Path = sys.executable,
    ) -> None:
        self._python = str(python)
        self.target = f"127.0.0.1:{free_port()}"
        self._arguments = [
            *("--source.path", str(source)),
            *("--ledger.path", str(directory / "ledger.db")),
            *("--web.listen-address", self.target),
            *more,
        ]
        self._directory = directory
        # The skills on disk are those of the home in which OpenCode runs.
        own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
        inherited = {key: text for key, text in os.environ.items() if "OPENCODE" not in key}
        self._environment = {**inherited, **own}
        self._client = httpx.Client(
            base_url=f"http://{self.target}",
            trust_env=False,
            timeout=PATIENCE_S,
            headers={"accept": "*/*"},
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            sys.stderr.write(self.log[-4000:])
        self._end()

    @property
    def log(self) -> str:
        """Return what it has logged so far, in all its lives."""
        return (self._directory / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.launch()
        wait_for(self._answers, PATIENCE_S)

    def launch(self) -> None:
        """Start the process."""
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._python, "-m", "opencode_exporter", "serve", *self._arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Send SIGKILL: it has no chance to put anything in order."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """Ask it to end, as a service manager does; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

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

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"the exporter ended: {self.log[-2000:]}")
        try:
            return self.get("/-/healthy").status_code == 200
        except httpx.TransportError:
            return False

    def _end(self) -> None:
        self._client.close()
        if self.process and self.process.poll() is None:
            self.kill()
