"""The documents say what the code does: their generated parts, their links and their names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import opencode_exporter
from documents import home, pages
from documents.texts import PAGES, TEXT, anchors, blocks, links
from harness.places import ROOT
from opencode_exporter import catalog
from opencode_exporter.commands.cli import cli

PACKAGE = Path(opencode_exporter.__file__).parent
COMMANDS = "exporter/COMMANDS.md"
README_LINES = 150
OF_OTHERS = {
    *("--user", "--now", "--config", "--storage.tsdb.retention.time", "--storage.tsdb.path"),
    *("--max-block-duration", "--enable-feature", "--prose"),
    *("--web.enable-remote-write-receiver", "--web.enable-otlp-receiver"),
}
"""Flags that a page tells to use: of systemctl, Prometheus, promtool, the collector, benchmarks."""

QUICK = {name: part for name, part in pages.PARTS.items() if name not in pages.DEMO}
"""Parts for which no demo has to be made."""
each_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with copies of all files that have generated parts, none of them stale."""
    for path, text in pages.written_anew(ROOT, QUICK).items():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    return tmp_path


# What is generated.


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("page", "report") else name
        for name in pages.PARTS
    ],
)
def test_generated_part_is_what_the_code_gives(name: str) -> None:
    """Metrics, flags, alerts and what users will see are those of the code; else `make docs`."""
    page, make = pages.PARTS[name]
    assert make() == pages.part_of(PAGES[page], name)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("exporter/METRICS.md", "Skill loads that ended."),
        (COMMANDS, "| serve,"),
        ("deploy/prometheus/README.md", "| critical |"),
        ("deploy/prometheus/rules/opencode.skills.yml", home.HOME),
    ],
)
def test_check_names_a_stale_file_and_write_repairs_it(
    page: str, text: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` names the file that differs and fails; after `--write` it is content."""
    before = (copy / page).read_text("utf-8")
    (copy / page).write_text(before.replace(text, "elsewhere"), "utf-8")
    assert pages.main(["--check"], copy, QUICK) == 1
    assert f"stale: {page};" in capsys.readouterr().err
    assert pages.main(["--write"], copy, QUICK) == 0
    assert pages.main(["--check"], copy, QUICK) == 0
    assert (copy / page).read_text("utf-8") == before
    assert pages.main([], copy, QUICK) == 2


@pytest.mark.slow
def test_writer_runs_as_make_docs_runs_it() -> None:
    """`python -m documents.pages --check` works as a program and finds nothing stale."""
    done = subprocess.run(
        [sys.executable, "-m", "documents.pages", "--check"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


# Where one finds what.


def test_readme_is_short() -> None:
    """What a newcomer reads first is one screen of each thing, and a table of pages."""
    assert PAGES["README.md"].count("\n") <= README_LINES


def test_readme_leads_to_every_page() -> None:
    """No page has to be known to be found."""
    assert {path for path, _ in links("README.md")} >= set(PAGES) - {"README.md"}


@each_page
def test_links_lead_somewhere(page: str) -> None:
    """Each link names a file or folder that is there, and a heading in it."""
    for path, anchor in links(page):
        assert (ROOT / path).exists(), path
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


def test_address_of_the_project_is_decided_once() -> None:
    """Rules and package metadata name the same place: that of `[project.urls]`."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    assert all(url.startswith(home.HOME) for url in urls.values())
    for path, text in home.with_runbooks(ROOT).items():
        assert path.read_text("utf-8") == text, path
        named = re.findall(r"runbook_url: (\S+)#", text)
        assert set(named) <= {home.RUNBOOKS}
        assert yaml.safe_load(text)


# What they name.


def test_every_metric_is_in_the_reference_and_no_other_anywhere() -> None:
    """Each name that looks like a metric is one, and the reference has all of the catalogue."""
    known = {metric.name for metric in catalog.ON_PAGE}
    histograms = {metric.name for metric in catalog.ON_PAGE if metric.kind == "histogram"}
    suffixed = {f"{name}_{end}" for name in histograms for end in ("bucket", "sum", "count")}
    labels = {label for metric in catalog.ON_PAGE for label in metric.labels}
    others = labels | {"opencode_exporter"} | {path.stem for path in PACKAGE.rglob("*.py")}
    looks = re.compile(r"\bopencode_[a-z_]*[a-z](?![a-z_*:])")  # but for recorded series
    assert known <= set(looks.findall(PAGES["exporter/METRICS.md"]))
    assert set(looks.findall(TEXT)) <= known | suffixed | others


def test_every_flag_is_in_the_page_of_commands_and_no_other_anywhere() -> None:
    """Each dotted or long flag that a page names exists, and each that exists is explained."""
    own_text = re.sub(r"^(?:python3|~/|.*docker compose ).*", "", TEXT, flags=re.MULTILINE)
    looks = re.compile(r"(?<![\w-])--[a-z][a-z.-]*[a-z]")
    assert set(looks.findall(own_text)) <= set(pages.flags()) | {"--help"} | OF_OTHERS
    assert set(pages.flags()) <= set(looks.findall(PAGES[COMMANDS]))


def test_every_command_is_in_the_table_of_commands() -> None:
    """The commands that are listed are those that there are."""
    table = PAGES[COMMANDS].split("\n## ")[0]
    assert set(cli.commands) == set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))


def test_make_targets_exist() -> None:
    """Every `make` target that a page tells to run is one of the Makefile's."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    told = set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks("sh")), re.MULTILINE))
    told |= {target for words in re.findall(r"`make ([a-z -]+)", TEXT) for target in words.split()}
    assert {"demo", "run", "test", "bench"} <= told <= targets


def test_files_that_are_named_exist() -> None:
    """Each path of this repository that a page names is there."""
    folders = "deploy|grafana|tests|exporter"
    paths = set(re.findall(rf"(?<![\w/.~(-])((?:{folders})/[\w./-]*\w)", TEXT))
    assert len(paths) > 15
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
