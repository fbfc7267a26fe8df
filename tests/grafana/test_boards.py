"""The source of the dashboards: what is committed is what it writes, and imports go one way."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from boards import __main__ as boards
from boards import queries
from opencode_exporter import catalog as c

PACKAGE: Final = Path(boards.__file__).parent
ROWS: Final = (
    "looks queries panels tables board",
    "skill failures edits overview skills tools models exporter __main__",
)
"""Modules in the order in which they may import each other."""


def imports(module: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            package, _, name = node.module.partition(".")
            if package == "boards":
                found |= {name} if name else {alias.name for alias in node.names}
    return found


def test_dashboards_are_what_their_source_writes() -> None:
    """Writing the dashboards anew changes no file, and no other file lies beside them."""
    files = boards.files()
    assert {path: path.read_text(encoding="utf-8") for path in files} == files
    assert set(boards.FOLDER.iterdir()) == files.keys()


def test_stale_dashboard_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--check` names a file that is missing or differs; without it the file is written."""
    monkeypatch.setattr(boards, "FOLDER", tmp_path)
    run = CliRunner().invoke
    missing = run(boards.main, ["--check"])
    assert (missing.exit_code, "opencode-tools.json" in missing.output) == (1, True)
    assert run(boards.main).exit_code == 0
    assert run(boards.main, ["--check"]).exit_code == 0
    (tmp_path / "opencode-tools.json").write_text("{}", encoding="utf-8")
    stale = run(boards.main, ["--check"])
    assert "opencode-tools.json: stale" in stale.output
    assert "opencode-skills.json" not in stale.output


def test_imports_go_one_way() -> None:
    """A module of the dashboards imports only what stands before it; nobody is forgotten."""
    order = " ".join(ROWS).split()
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert modules == set(order)
    for at, module in enumerate(order):
        assert imports(module) <= set(order[:at]), module


def test_selector_filters_by_the_labels_that_a_metric_has() -> None:
    """Job and instance always, project and agent where the metric has them."""
    cost, wait = queries.pick(c.COST), queries.pick(c.TOOL_WAIT, 'tool="read"', suffix="_sum")
    assert 'agent=~"$agent"' in cost
    assert 'project=~"$project"' in cost
    assert wait == (
        'opencode_tool_wait_seconds_sum{job=~"$job", instance=~"$instance", tool="read"}'
    )


def test_alert_list_uses_variables_only_where_grafana_fills_them_in() -> None:
    """Its filters of names and labels know variables; a data source that is one finds nothing."""
    overview = boards.FOLDER / "opencode-overview.json"
    panels = json.loads(overview.read_text(encoding="utf-8"))["panels"]
    (options,) = (panel["options"] for panel in panels if panel["type"] == "alertlist")
    with_variables = {name for name, value in options.items() if "$" in str(value)}
    assert with_variables == {"alertInstanceLabelFilter"}
    assert "datasource" not in options
