"""
Support for tests: clocks, real tools, recordings, exporters and what they expose.

Everything here drives the real thing; nothing is mocked but the time.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contract.recorder.binaries import Binary, find
from harness.places import RECORDINGS
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.service.settings import Settings

HOUR_MS = 3_600_000
Labels = frozenset[tuple[str, str]]


def missing(what: str) -> NoReturn:
    """Skip a test whose real tool is not there; where everything is required, fail."""
    if os.environ.get("REQUIRE_REAL") == "1":
        pytest.fail(f"{what} (REQUIRE_REAL=1)")
    pytest.skip(what)


def real_tool(name: str) -> str:
    """Return the path of a program, or skip with a sentence."""
    return shutil.which(name) or missing(f"{name} is not installed: see .ci/run")


def real_opencode(version: str) -> Binary:
    """Return the executable of an OpenCode, or skip with a sentence."""
    return find(version) or missing(
        f"OpenCode {version} is not there: PYTHONPATH=tests python -m contract.recorder fetch"
    )


def not_utf8(directory: Path, name: str) -> Path:
    """Return a path whose name is Latin-1, or skip where the file system has no such names."""
    path = Path(os.fsdecode(os.fsencode(directory) + b"/" + name.encode("latin-1")))
    try:
        path.mkdir(parents=True)
    except OSError:
        pytest.skip("every name is UTF-8 on this file system")
    path.rmdir()
    return path


PATIENCE_S = 60.0
"""How long something may take that does happen, on a machine that is busy with other things."""
SOON_S = 8.0
"""What is told to end at once has ended by then; what it must not wait for takes longer."""


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE_S, every: float = 0.02) -> Any:
    """Return the first true answer of a condition that is asked again and again."""
    until = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"did not happen within {seconds} s")
        pause.wait(every)


@dataclass
class FakeClock:
    """Time that passes only when a test says so.  Starts in November 2026."""

    ms: int = 1_795_000_000_000

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return self.ms

    def monotonic(self) -> float:
        """Return seconds."""
        return self.ms / 1000

    def advance(self, *, ms: int = 0, hours: float = 0) -> None:
        """Let time pass."""
        self.ms += ms + int(hours * HOUR_MS)


def unpack(name: str, into: Path) -> Path:
    """Lay out a recording's files as OpenCode left them, and return the database."""
    into.mkdir(parents=True, exist_ok=True)
    for packed in (RECORDINGS / name).glob("*.xz"):
        (into / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    return into / "opencode.db"


def truth(name: str) -> dict[str, Any]:
    """Return what the scripted model had issued in a recording."""
    found: dict[str, Any] = json.loads((RECORDINGS / name / "truth.json").read_text("utf-8"))
    return found


class Exposed:
    """A page of metrics, parsed by the client library."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.samples: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                series = self.samples.setdefault(sample.name, {})
                series[frozenset(sample.labels.items())] = sample.value

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of one series, None if it is not there."""
        return self.samples.get(name, {}).get(frozenset(labels.items()))

    def by(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """Return the sums over all other labels; series at 0 are left out."""
        sums: Counter[tuple[str, ...]] = Counter()
        for series, value in self.samples.get(name, {}).items():
            if value:
                sums[tuple(dict(series)[label] for label in labels)] += value  # type: ignore[assignment]
        return sums

    def total(self, name: str) -> float:
        """Return the sum over all series."""
        return sum(self.samples.get(name, {}).values())


@dataclass
class Bench:
    """Makes exporters in one process over one directory."""

    directory: Path
    clock: FakeClock
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """Where the database is, or will be."""
        return self.directory / "opencode.db"

    @property
    def ledger(self) -> Path:
        """Where the ledger is."""
        return self.directory / "state" / "opencode-exporter" / "ledger.db"

    def exporter(self, *, in_memory: bool = False, **settings: Any) -> Exporter:
        """Start an exporter (no server) on the source and its ledger."""
        given = {
            "source_paths": (self.source,),
            "ledger_path": None if in_memory else self.ledger,
            **settings,
        }
        return Exporter(Settings(**given), self.environ, self.directory / "home", clock=self.clock)

    def read_once(self, **settings: Any) -> Exposed:
        """Return what one read of everything into a fresh ledger exposes."""
        exporter = self.exporter(in_memory=True, **settings)
        try:
            exporter.poll()
            return exposed(exporter)
        finally:
            exporter.close()


def exposed(exporter: Exporter) -> Exposed:
    """Return what an exporter shows now."""
    return Exposed(exporter.pages.metrics("", process=False).body.decode())
