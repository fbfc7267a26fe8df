"""
A real Prometheus over exporters, for tests that ask what a user would ask.

It scrapes fast, keeps its data in a directory of the test, listens on loopback
and is gone when its block ends. Nothing here knows what a test asserts.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from harness.exporters import Labels
from harness.processes.ports import free_port
from harness.processes.process import Process
from harness.real_tools import real_tool
from harness.waiting import PATIENCE_S, wait_for

_CONFIG = """
global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}
scrape_configs:
  - job_name: opencode
    static_configs: [{{targets: {targets}}}]
"""


class Prometheus(Process):
    """
    A Prometheus server that scrapes one target, and others beside it, under one job.

    Moments are Unix seconds; an instant query without one is answered as of now. A file
    of OpenMetrics may give it samples from the start, or the blocks that lie in ``data``
    below its directory; without a target these are all.
    """

    def __init__(
        self,
        target: str,
        directory: Path,
        *,
        interval: str = "1s",
        beside: Sequence[str] = (),
        history: Path | None = None,
        retention: str = "15d",
        features: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._history = history
        targets = json.dumps([address for address in (target, *beside) if address])
        self._config = _CONFIG.format(targets=targets, interval=interval)
        self._client = httpx.Client(trust_env=False, timeout=PATIENCE_S)
        self._url = f"http://127.0.0.1:{free_port()}"
        command = [
            real_tool("prometheus"),
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--storage.tsdb.retention.time={retention}",
            f"--web.listen-address={self._url.removeprefix('http://')}",
            "--log.level=warn",
            *(f"--enable-feature={feature}" for feature in features),
        ]
        super().__init__(command, directory / "log")

    def launch(self) -> None:
        """Start it, with its configuration and the history in its directory."""
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "prometheus.yml").write_text(self._config, encoding="utf-8")
        if self._history:
            self._take(self._history)
        super().launch()

    def is_up(self) -> bool:
        """Return whether it says that it is ready."""
        try:
            return self._client.get(f"{self._url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """End it and the connections to it; safe to call again."""
        self._client.close()
        super().close()

    def query(self, promql: str, at: float | None = None) -> dict[Labels, float]:
        """Return the value of each series that an instant query answers with."""
        found = self._ask(promql, at)
        return {frozenset(series["metric"].items()): float(series["value"][1]) for series in found}

    def number(self, promql: str, at: float | None = None) -> float | None:
        """Return the answer that is one number, None if there is none."""
        found = list(self.query(promql, at).values())
        assert len(found) <= 1, f"{promql} has {len(found)} answers"
        return found[0] if found else None

    def scrapes(self, since: float) -> list[float]:
        """Return when each successful scrape after a moment began."""
        samples = [pair for series in self._ask("up[1h]", None) for pair in series["values"]]
        return [moment for moment, up in samples if up == "1" and moment > since]

    def scraped(self, since: float, times: int = 1) -> float:
        """Wait for successful scrapes that began after a moment; return when the last one did."""
        moments: list[float] = wait_for(
            lambda: found if len(found := self.scrapes(since)) >= times else None, PATIENCE_S
        )
        return moments[-1]

    def api(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Return the data that a path below /api/v1/ answers with."""
        answer = self._client.get(f"{self._url}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def _take(self, history: Path) -> None:
        done = subprocess.run(
            [
                *(real_tool("promtool"), "tsdb", "create-blocks-from", "openmetrics"),
                *(str(history), str(self._directory / "data")),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _ask(self, promql: str, at: float | None) -> list[dict[str, Any]]:
        asked = {"query": promql} | ({} if at is None else {"time": f"{at:.3f}"})
        found: list[dict[str, Any]] = self.api("query", asked)["result"]
        return found
