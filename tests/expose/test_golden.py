"""
Golden expositions: the page of each recording, byte for byte.

`UPDATE_GOLDEN=1` writes them anew, so that a changed metric is a diff to review.
What depends on the machine is masked; the pages that are linted are not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from harness.clock import HOUR_MS, FakeClock
from harness.exporters import Bench
from harness.places import GOLDEN, RECORDINGS
from harness.real_tools import real_tool
from harness.recordings import truth, unpack

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))
# Versions, the time that polls take, and how large SQLite makes the ledger.
MASKS = (
    (re.compile(r'(?<=[{,])(version|python|sqlite)="[^"]*"'), r'\1="_"'),
    (
        re.compile(
            r"^(opencode_exporter_poll_duration_seconds_(?:bucket|sum).*) .*$", re.MULTILINE
        ),
        r"\1 0",
    ),
    (re.compile(r"^(opencode_exporter_ledger_bytes) .*$", re.MULTILINE), r"\1 0"),
)


def pages(name: str, bench: Bench) -> tuple[str, str]:
    """Return what a recording exposes a day after it was made: as text and as OpenMetrics."""
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    exporter = bench.exporter(in_memory=True)
    exporter.poll()
    text, openmetrics = (
        exporter.pages.metrics(accept, process=False).body.decode()
        for accept in ("", CONTENT_TYPE_LATEST)
    )
    exporter.close()
    return text, openmetrics


def masked(page: str) -> str:
    """Return a page without what differs between machines."""
    for pattern, instead in MASKS:
        page = pattern.sub(instead, page)
    return page


@pytest.fixture(scope="module", autouse=True)
def golden(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Write the golden files anew where that is asked for."""
    if not os.environ.get("UPDATE_GOLDEN"):
        return
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir()
    for name in NAMES:
        page, _ = pages(name, Bench(tmp_path_factory.mktemp("golden"), FakeClock()))
        (GOLDEN / f"{name}.prom").write_text(masked(page), encoding="utf-8", newline="")


@pytest.mark.parametrize("name", NAMES)
def test_page_is_the_golden_one(name: str, bench: Bench) -> None:
    """A recording is exposed exactly as its golden file says."""
    page = masked(pages(name, bench)[0])
    golden = (GOLDEN / f"{name}.prom").read_bytes()
    assert page.splitlines() == golden.decode().splitlines(), "make golden, and review the diff"
    assert page.encode() == golden


def test_every_golden_has_its_recording() -> None:
    """No golden file stays behind when its recording goes."""
    assert sorted(path.stem for path in GOLDEN.glob("*.prom")) == NAMES


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
def test_promtool_has_nothing_to_say(name: str, bench: Bench) -> None:
    """The page passes `promtool check metrics` without a complaint."""
    page, _ = pages(name, bench)
    done = subprocess.run(
        [real_tool("promtool"), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_openmetrics_says_the_same(name: str, bench: Bench) -> None:
    """The OpenMetrics page parses by the standard's rules and holds the samples of the text."""
    text, openmetrics = pages(name, bench)
    assert openmetrics.endswith("# EOF\n")
    strict = openmetrics_parser.text_string_to_metric_families(openmetrics)  # type: ignore[no-untyped-call]
    assert samples(strict) == samples(text_string_to_metric_families(text))


def samples(families: Iterable[Metric]) -> list[tuple[str, dict[str, str], float]]:
    """Return all samples of a parsed page, in order."""
    return [(s.name, s.labels, s.value) for family in families for s in family.samples]
