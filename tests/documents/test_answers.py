"""The pages on troubleshooting and on privacy leave nothing out of what the code says and reads."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import opencode_exporter
from documents.texts import PAGES
from opencode_exporter.source.opencode.schema import READABLE

PACKAGE = Path(opencode_exporter.__file__).parent


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
    """What the exporter can say about a source, its ledger or a flag stands in its page."""
    table = PAGES["exporter/TROUBLESHOOTING.md"]
    for parts in sentences(path):
        for part in parts:
            assert part in table, parts


def test_privacy_names_the_tables_and_columns_that_are_read() -> None:
    """The tables and columns in the page on privacy are those that the source may read."""
    privacy = PAGES["exporter/PRIVACY.md"].splitlines()
    lines = {line.split("**")[1]: line for line in privacy if line.startswith("- **")}
    tables = {table: columns for table, columns in READABLE.items() if table != "json_each"}
    assert set(re.findall(r"`(\w+)`", lines["Tables."].split(" are read.")[0])) == set(tables)
    assert set(re.findall(r"`(\w+)`", lines["Columns."])) == set().union(*tables.values()) - {
        *("ROWID", "")
    }
