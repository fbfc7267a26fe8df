"""What the documents show to type, to configure and to see works, and looks as shown."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import trustme
import yaml

from documents import pages
from documents.texts import PAGES, blocks
from harness.clock import HOUR_MS
from harness.exporters import Bench
from harness.real_tools import real_tool
from harness.recordings import truth, unpack
from opencode_exporter import catalog
from opencode_exporter.commands.check import examine
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.web.web_config import WebConfig

RECORDING = "2.0.15"  # the one whose check is shown
QUESTIONS = blocks("promql", PAGES["exporter/METRICS.md"].split("<!-- metrics -->")[0])
"""Examples of PromQL beside those of the catalogue."""


@pytest.mark.real
def test_routing_example_is_one_that_alertmanager_takes(tmp_path: Path) -> None:
    """The routing example passes amtool, which finds both receivers."""
    (example,) = (block for block in blocks("yaml") if "platform-team" in block)
    config = tmp_path / "alertmanager.yml"
    config.write_text(example, "utf-8")
    done = subprocess.run(
        [real_tool("amtool"), "check-config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "2 receivers" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.fixture
def recorded(bench: Bench) -> Bench:
    """The recording whose check is shown."""
    unpack(RECORDING, bench.directory)
    bench.clock.ms = truth(RECORDING)["recorded_at_ms"] + 24 * HOUR_MS
    return bench


def test_excerpt_of_the_report_shows_what_is_announced() -> None:
    """It has all sections chosen, in tables of which none is wider than a terminal of 100."""
    shown = pages.part_of(PAGES["README.md"], "report")
    assert all(f"\n{section}" in shown for section in pages.SECTIONS)
    assert max(map(len, shown.splitlines())) <= 100


def test_output_of_check_is_real(recorded: Bench) -> None:
    """The facts that are shown of `check` are those that it finds, by name."""
    shown = re.findall(
        r"^│ (.*?) +│", pages.part_of(PAGES["exporter/COMMANDS.md"], "check"), re.MULTILINE
    )
    assert [*examine(Source(recorded.source, "opencode.db")).facts, "result"] == shown


@pytest.mark.real
def test_promql_examples_parse(tmp_path: Path) -> None:
    """Each PromQL example is one that promtool accepts as the expression of a rule."""
    promtool = real_tool("promtool")
    assert len(QUESTIONS) >= 5
    rules = [{"record": f"example:{n}", "expr": expr} for n, expr in enumerate(QUESTIONS)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "readme", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promql_examples_ask_for_labels_that_exist() -> None:
    """Every label that an example selects or groups by is one of a metric, or Prometheus' own."""
    labels = {label for metric in catalog.ON_PAGE for label in metric.labels}
    for example in QUESTIONS:
        grouped = re.findall(r"(?:by|on) \(([^)]*)\)", example)
        used = {name.strip() for names in grouped for name in names.split(",")}
        used |= set(re.findall(r"[{,]\s*(\w+)[!=]", example))
        assert used <= labels | {"le", "instance", "job"}


@pytest.mark.real
def test_prometheus_snippet_passes_promtool(tmp_path: Path) -> None:
    """The scrape configuration is the same wherever it is shown, and passes promtool."""
    promtool = real_tool("promtool")
    first, *others = [block for block in blocks("yaml") if "scrape_configs" in block]
    assert all(block == first for block in others)
    file = tmp_path / "prometheus.yml"
    file.write_text(first)
    done = subprocess.run(
        [promtool, "check", "config", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_web_config_example_loads(tmp_path: Path) -> None:
    """The example of TLS and basic auth is one that the exporter takes as it stands."""
    certificate = trustme.CA().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "exporter.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "exporter.key")
    example = next(block for block in blocks("yaml") if "tls_server_config" in block)
    (tmp_path / "web.yml").write_text(example)
    config = WebConfig.load(tmp_path / "web.yml")
    assert config.tls is not None
    assert set(config.users) == {"prometheus"}
