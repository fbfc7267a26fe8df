"""Rules of the code that no linter knows: who reads clocks, opens databases, lends to others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import opencode_exporter
from harness.places import TESTS

PACKAGE: Final = Path(opencode_exporter.__file__).parent
FILES: Final = sorted(
    path for path in PACKAGE.rglob("*.py") if "demo" not in path.relative_to(PACKAGE).parts
)
CLOCKS: Final = {
    "clock": "it is the clock that all others are given",
    "commands.terminal": "spaces the log lines of a progress bar; no number depends on it",
    "web.http_server": "gives the room its stopwatch; web knows nothing of ours",
    "web.middleware": "the default of an argument that tests replace; web knows nothing of ours",
    "web.web_config": "the default of an argument that tests replace; web knows nothing of ours",
}
"""Modules that may name a clock of the standard library, and why."""
GENERATIONS: Final = {
    "catalog.labels": "the values of a label, which the source feeds",
    "commands.demo": "a flag of the demo, which plays a client",
    "expose.otlp.secrets": "the path of OTLP's endpoints, which have versions as well",
}
"""Modules behind decode and source that may have the word for a generation, and why."""


def name_of(path: Path) -> str:
    """Return a module's dotted name below the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def modules_named(node: ast.AST) -> Iterator[str]:
    """Yield the full names of modules, or of things in them, that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reads_a_clock(path: Path) -> bool:
    """Return whether a file names a clock of the standard library."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"), str(path))))
    imported = (name for node in nodes for name in modules_named(node))
    asked = (ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute))
    return any(name.split(".")[0] == "time" for name in imported) or any(
        re.fullmatch(r"(datetime|date)\.(now|utcnow|today)", name) for name in asked
    )


def test_only_the_clock_reads_clocks() -> None:
    """Time is passed in, so that tests step it by hand; each exception has a reason."""
    assert {name_of(path) for path in FILES if reads_a_clock(path)} == set(CLOCKS)


def test_nothing_behind_decode_knows_generations() -> None:
    """
    What differs between 1.x and 2.x is told by events and kinds of rows, as facts.

    The ledger, the turns and the keys asked for the generation at nine places: another
    client would have had to pass for one of the two.
    """
    naming = {
        name_of(path)
        for path in FILES
        if name_of(path).split(".")[0] not in ("decode", "source")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value in ("v1", "v2")
    }
    assert naming == set(GENERATIONS)


def test_nothing_but_source_and_ledger_opens_sqlite() -> None:
    """
    One module opens the database of OpenCode, one our own; the rest names errors at most.

    A third has a temporary one, of no name.
    """
    opening = {
        name_of(path) for path in FILES if re.search(r"apsw\.Connection\(", path.read_text("utf-8"))
    }
    assert opening == {
        "source.opencode.reader",
        "ledger.file",
        "commands.backfill.timeline",
    }


def test_no_signal_handler_sets_an_event() -> None:
    """
    A handler runs between two steps of the main thread, also within `Event.wait`.

    It would wait for the lock that its own thread holds: the demo, told to end, hung.
    """
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "signal.signal":
                assert ".set(" not in ast.unparse(node), path


def test_no_test_lends_to_others() -> None:
    """A test module that is imported is there twice; what tests share is in a module of its own."""
    borrowing = {
        f"{path.relative_to(TESTS)}: {name}"
        for path in TESTS.rglob("*.py")
        for node in ast.parse(path.read_text("utf-8"), str(path)).body
        for name in modules_named(node)
        if any(part.startswith("test_") for part in name.split("."))
    }
    assert borrowing == set()


def test_oracle_shares_nothing_with_the_exporter() -> None:
    """
    What is computed independently cannot be wrong because the exporter is.

    It took its verdicts on errors from the exporter, which were so held against themselves.
    """
    taken = {
        name
        for path in (TESTS / "contract" / "oracle").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in modules_named(node)
        if name.startswith("opencode_exporter")
    }
    assert taken == {"opencode_exporter.demo.rows.text"}, "but what writes JSON as OpenCode does"
