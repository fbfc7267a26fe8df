"""
Crowds that want the server for themselves, and one who asks honestly beside them.

``CROWD_SECONDS=120`` has each of them stay for two minutes; ``make crowd`` does so.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
import trustme

from harness.processes.process import LineProcess
from harness.processes.served import Served
from harness.recordings import unpack
from harness.waiting import PATIENCE_S, SOON_S
from harness.web_server import hashed

SECONDS: Final = float(os.environ.get("CROWD_SECONDS", "4"))
EVERY_S: Final = 0.5
CROWD: Final = Path(__file__).with_name("crowd.py")
CROWDS: Final = {
    "idle": ["idle:1200"],
    "not reading": ["unread:128"],
    "guessing": ["wrong:110"],
    "all of them": ["idle:1200", "unread:128", "wrong:110"],
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + SECONDS)]


class Guarded(Served):
    """An exporter that wants a password, and speaks TLS if it is told to."""

    def __init__(self, source: Path, directory: Path, *, tls: bool) -> None:
        directory.mkdir()
        config = directory / "web.yml"
        lines = [f"basic_auth_users: {{ada: {hashed('right', 10)}}}"]
        if tls:
            leaf = trustme.CA().issue_cert("127.0.0.1")
            leaf.private_key_and_cert_chain_pem.write_to_path(directory / "both.pem")
            lines.append("tls_server_config: {cert_file: both.pem, key_file: both.pem}")
        config.write_text("\n".join(lines))
        more = f"--web.config.file={config}"
        super().__init__(source, directory, more, home=directory / "home")
        self._scheme = "https" if tls else "http"
        self._trusting = ssl._create_unverified_context()  # noqa: S323  # our own server
        self._client = self.client()

    def client(self) -> httpx.Client:
        """Return a client that knows the password, and has no connection yet."""
        return httpx.Client(
            base_url=f"{self._scheme}://{self.target}",
            auth=("ada", "right"),
            verify=self._trusting,
            trust_env=False,
            timeout=PATIENCE_S,
        )

    def scrape(self) -> float:
        """Scrape by a connection of its own; return how long that took, in seconds."""
        with self.client() as client:
            began = time.monotonic()
            answer = client.get("/metrics")
            took = time.monotonic() - began
        assert answer.status_code == 200
        assert 'opencode_up{source="opencode.db"} 1.0' in answer.text
        return took


@contextmanager
def crowd(served: Guarded, kinds: list[str], *, tls: bool) -> Iterator[None]:
    """Have a crowd insist on being served, until the block ends."""
    command = [sys.executable, str(CROWD), served.target.split(":")[1], str(int(tls)), *kinds]
    with LineProcess(command, "here") as all_of_them:
        yield
        all_of_them.tell("how was it?")
        print(all_of_them.answer())  # noqa: T201  # for who asks with -s


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("name", CROWDS)
def test_honest_scrape_is_answered_beside_a_crowd(name: str, tmp_path: Path, *, tls: bool) -> None:
    """
    Idle clients, such as do not read and such as guess passwords keep nobody out.

    Connections in their handshake did not count and took all files for a minute; the
    newcomer made room for itself by going; and guesses had the password's place in memory.
    """
    source = unpack("1.18.33", tmp_path / "data")
    pause = threading.Event()
    with (
        Guarded(source, tmp_path / "run", tls=tls) as served,
        crowd(served, CROWDS[name], tls=tls),
    ):
        took = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            took.append(served.scrape())
            pause.wait(EVERY_S - min(took[-1], EVERY_S))
            assert served.files() < 2200
            assert served.memory() < 300_000_000
        longest = max(took)
        print(f"{name}: {len(took)} scrapes, the longest {longest:.2f} s")  # noqa: T201
        assert longest < SOON_S
        assert '"error"' not in served.log
