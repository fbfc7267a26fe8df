"""The README says what the code does: its generated parts, its names, its examples."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
import yaml

import opencode_exporter
from documents import readme
from harness.processes.process import with_our_modules
from harness.support import HOUR_MS, Bench, real_tool, truth, unpack
from opencode_exporter import catalog
from opencode_exporter.commands.check import examine
from opencode_exporter.commands.cli import _COMMANDS
from opencode_exporter.source.opencode.schema import READABLE
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.web.web_config import WebConfig

PACKAGE = Path(opencode_exporter.__file__).parent
TEXT = readme.README.read_text("utf-8")
RECORDING = "2.0.15"  # the one whose check is shown
OF_OTHERS = {
    *("--user", "--now", "--config", "--storage.tsdb.retention.time", "--storage.tsdb.path"),
    *("--max-block-duration", "--enable-feature"),
    *("--web.enable-remote-write-receiver", "--web.enable-otlp-receiver"),
}
"""Flags of systemctl, of Prometheus, promtool and the collector that the README tells to use."""


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("name", readme.PARTS)
def test_generated_part_is_what_the_code_gives(name: str) -> None:
    """Flags, metrics and label values in the README are those of the code; else `make docs`."""
    assert readme.PARTS[name]() == readme.part_of(TEXT, name)


def test_check_tells_a_stale_part_and_write_repairs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` names the part that differs and fails; after `--write` it is content."""
    copy = tmp_path / "README.md"
    copy.write_text(TEXT.replace("Skill loads that ended.", "Something else."), "utf-8")
    monkeypatch.setattr(readme, "README", copy)
    assert readme.main(["--check"]) == 1
    assert "stale: metrics" in capsys.readouterr().err
    assert readme.main(["--write"]) == 0
    assert readme.main(["--check"]) == 0
    assert copy.read_text("utf-8") == TEXT
    assert readme.main([]) == 2


def test_every_metric_is_mentioned_and_no_other() -> None:
    """Each name that looks like a metric is one, and each metric of the catalogue is named."""
    known = {metric.name for metric in catalog.ON_PAGE}
    histograms = {metric.name for metric in catalog.ON_PAGE if metric.kind == "histogram"}
    suffixed = {f"{name}_{end}" for name in histograms for end in ("bucket", "sum", "count")}
    labels = {label for metric in catalog.ON_PAGE for label in metric.labels}
    others = labels | {"opencode_exporter"} | {path.stem for path in PACKAGE.rglob("*.py")}
    named = set(re.findall(r"\bopencode_[a-z_]*[a-z](?![a-z_*])", TEXT))
    assert known <= named
    assert named <= known | suffixed | others


def test_every_flag_is_mentioned_and_no_other() -> None:
    """Each dotted or long flag that the README names exists, and each that exists is named."""
    own_text = re.sub(r"^(?:python3|~/|.*docker compose ).*", "", TEXT, flags=re.MULTILINE)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z]", own_text))
    assert set(readme.flags()) | {"--help"} | OF_OTHERS >= named
    assert set(readme.flags()) <= named


def test_every_command_is_in_the_table_of_commands() -> None:
    """The commands that the README lists are those that there are."""
    table = TEXT.split("## Commands")[1].split("\n## ")[0]
    assert set(_COMMANDS.commands) == set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))


def test_make_targets_exist() -> None:
    """Every `make` target that the README tells to run is one of the Makefile's."""
    makefile = (readme.README.parent / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    told = set(re.findall(r"^make ([a-z]+)", "\n".join(blocks("sh")), re.MULTILINE))
    told |= set(re.findall(r"`make ([a-z]+)`", TEXT))
    assert {"demo", "run", "test", "bench"} <= told <= targets


def test_files_that_are_named_exist() -> None:
    """Each path of this repository that the README names, links or shows is there."""
    root = readme.README.parent
    paths = set(re.findall(r"(?<![\w/.~-])((?:deploy|grafana|tests)/[\w./-]*\w)", TEXT))
    paths |= set(re.findall(r"\]\((?!http)([^#)]+)", TEXT))
    assert len(paths) > 15
    assert [path for path in sorted(paths) if not (root / path).exists()] == []


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


def sentences(path: Path) -> list[list[str]]:
    """Return what a module's exceptions say: of each sentence the parts that never vary."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and re.search(
            r"(Source|Ledger)\w*Error", ast.dump(node.func)
        ):
            parts = [one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
            found.append([part.strip(" (),") for part in parts if isinstance(part, str)])
    return found


SAYING = [path for path in sorted(PACKAGE.rglob("*.py")) if sentences(path)]


@pytest.mark.parametrize("path", SAYING, ids=[str(p.relative_to(PACKAGE)) for p in SAYING])
def test_troubleshooting_answers_every_sentence(path: Path) -> None:
    """What the exporter can say about a source, its ledger or a flag stands in the README."""
    table = TEXT.split("## Troubleshooting")[1].split("\n## ")[0]
    for parts in sentences(path):
        for part in parts:
            assert part in table, parts


def test_privacy_names_the_tables_and_columns_that_are_read() -> None:
    """The tables and columns in the section on privacy are those that the source may read."""
    lines = {line.split("**")[1]: line for line in TEXT.splitlines() if line.startswith("- **")}
    tables = {table: columns for table, columns in READABLE.items() if table != "json_each"}
    assert set(re.findall(r"`(\w+)`", lines["Tables."].split(" are read.")[0])) == set(tables)
    assert set(re.findall(r"`(\w+)`", lines["Columns."])) == set().union(*tables.values()) - {
        *("ROWID", "")
    }


@pytest.fixture
def recorded(bench: Bench) -> Bench:
    """The recording that the README shows a part of."""
    unpack(RECORDING, bench.directory)
    bench.clock.ms = truth(RECORDING)["recorded_at_ms"] + 24 * HOUR_MS
    return bench


def test_excerpt_of_the_report_shows_what_is_announced() -> None:
    """It has all sections chosen, in tables of which none is wider than a terminal of 100."""
    shown = readme.part_of(TEXT, "report")
    assert all(f"\n{section}" in shown for section in readme.SECTIONS)
    assert max(map(len, shown.splitlines())) <= 100


def test_output_of_check_is_real(recorded: Bench) -> None:
    """The facts that the README shows of `check` are those that it finds, by name."""
    shown = re.findall(r"^│ (.*?) +│", readme.part_of(TEXT, "check"), re.MULTILINE)
    assert [*examine(Source(recorded.source, "opencode.db")).facts, "result"] == shown


@pytest.mark.real
def test_promql_examples_parse(tmp_path: Path) -> None:
    """Each PromQL example is one that promtool accepts as the expression of a rule."""
    promtool = real_tool("promtool")
    examples = blocks("promql")
    assert len(examples) >= 5
    rules = [{"record": f"example:{n}", "expr": expr} for n, expr in enumerate(examples)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "readme", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promql_examples_ask_for_labels_that_exist() -> None:
    """Every label that an example selects or groups by is one of a metric, or Prometheus' own."""
    labels = {label for metric in catalog.ON_PAGE for label in metric.labels}
    for example in blocks("promql"):
        grouped = re.findall(r"(?:by|on) \(([^)]*)\)", example)
        used = {name.strip() for names in grouped for name in names.split(",")}
        used |= set(re.findall(r"[{,]\s*(\w+)[!=]", example))
        assert used <= labels | {"le", "instance", "job"}


@pytest.mark.real
def test_prometheus_snippet_passes_promtool(tmp_path: Path) -> None:
    """The scrape configuration of the quick start passes promtool."""
    promtool = real_tool("promtool")
    snippet = next(block for block in blocks("yaml") if "scrape_configs" in block)
    file = tmp_path / "prometheus.yml"
    file.write_text(snippet)
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


@pytest.mark.slow
def test_readme_writer_runs_as_make_docs_runs_it() -> None:
    """`--check` works as a program and finds nothing stale."""
    done = subprocess.run(
        [sys.executable, "-m", "documents.readme", "--check"],
        capture_output=True,
        text=True,
        check=False,
        env=with_our_modules(),
    )
    assert (done.returncode, done.stderr) == (0, "")
