"""Imports go one way: down the rows of the table, never up and never across."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import opencode_exporter

PACKAGE = Path(opencode_exporter.__file__).parent

ROWS = """
printable errors times events waker catalog.metric catalog.exporter catalog.sessions \
catalog.skills catalog.tools catalog
filters config layout damage reader onlooker source classify decode decode.values \
decode.condense decode.copies decode.programs \
decode.languages decode.details decode.usage decode.endings_v1 decode.calls_v1 \
decode.parts_v1 decode.steps_v1 \
decode.shape_v2 decode.wanted decode.steps_v2 decode.rows_v2 series labels identity traces \
aggregate \
turns turns.tally turns.conversation turns.attempts turns.measures turns.delegation \
turns.endings turns.queue turns.turns \
digest batch turns.talks health disk opencode_config \
yaml_dialect front_matter skills
sessions tables.table tables.large tables.rows tables.parts_v1 \
tables.message_parts tables.messages_v1 tables.messages_v2 tables.around tables \
tailer read_ahead ledger ledger.scope ledger.follower ledger.names ledger.sums ledger.totals \
ledger.viewers ledger.hot_files ledger.place ledger.file ledger.store ledger.notes \
ledger.waiting ledger.open_rows ledger.judge ledger.intake ledger.ledger
exemplars moment snapshot exposition otlp otlp.url otlp.secrets otlp.target otlp.resource \
otlp.points otlp.heard otlp.deadline otlp.session otlp.troubles otlp.link otlp.sender otlp.push \
otlp.span_ids otlp.callers otlp.spans otlp.span_sender otlp.tracing \
report.units report.marks report.quantiles report.document report.sums \
report.figures report.grid report.columns report.headline report.skills_part report.tools_part \
report.page report
web web.yaml web.tls web.config web.turns web.auth web.hosts web.gate web.room web.lane \
web.listener web.protocol web.sockets web.landing web.server
poller pages exporter watcher service check backfill.period backfill.timeline backfill.known \
backfill.history backfill.openmetrics backfill.job backfill terminal streams logs
demo demo_source config_file flag_types flags cli __main__
"""
"""
Modules by row, each row in its own order: a module may import lower rows and
modules before it in its row.  ``demo`` stands for everything below that folder.
"""
PLACE = {
    name: (row, column)
    for row, names in enumerate(ROWS.strip().splitlines(), start=1)
    for column, name in enumerate(names.split())
}

SOURCE_SIDE = {"layout", "reader", "onlooker", "source", "sessions", "tailer", "read_ahead"} | {
    name for name in PLACE if name.split(".")[0] in ("decode", "tables")
}
SINK_SIDE = {"exemplars", "moment", "snapshot", "exposition"} | {
    name for name in PLACE if name.split(".")[0] in ("otlp", "report", "web")
}


DECODERS = {name for name in PLACE if name.startswith("decode.") and name.endswith(("v1", "v2"))}

CLOCKS = {
    "waker": "it is the clock that all others are given",
    "terminal": "spaces the log lines of a progress bar; no number depends on it",
    "web.config": "the default of an argument that tests replace; web knows nothing of ours",
    "web.gate": "the default of an argument that tests replace; web knows nothing of ours",
    "web.protocol": "gives the room its stopwatch; web knows nothing of ours",
}
"""Modules that may name a clock of the standard library, and why."""

ALLOWED_UP: dict[tuple[str, str], str] = {}
"""Imports against the direction, with a reason.  There are none."""


def name_of(path: Path) -> str:
    """Return a module's dotted name below the package; the demo is one."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return "demo" if parts[:1] == ("demo",) else ".".join(parts)


FILES = sorted(path for path in PACKAGE.rglob("*.py") if name_of(path))


def tree_of(path: Path) -> ast.Module:
    """Return a file's syntax."""
    return ast.parse(path.read_text("utf-8"), str(path))


def modules_named(node: ast.AST) -> Iterator[str]:
    """Yield the full names of modules, or of things in them, that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide where they lead"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(tree_of(path)):
        for full in modules_named(node):
            package, _, name = full.partition(".")
            if package == "opencode_exporter" and not name.startswith("__"):
                found.add(known_module(name))
    return found - {name_of(path)}


def known_module(name: str) -> str:
    """Return the module that a dotted name lies in; a name of no module stays as it is."""
    inside = name.split(".")
    if inside[0] == "demo":
        return "demo"
    for length in range(len(inside), 0, -1):
        if (candidate := ".".join(inside[:length])) in PLACE:
            return candidate
    return name


def test_every_module_has_a_place() -> None:
    """A module that is not in the table has not been thought about."""
    assert {name_of(path) for path in FILES} <= set(PLACE)


def test_every_place_is_taken_once() -> None:
    """The table names no module twice and none that is gone."""
    assert len(PLACE) == len(ROWS.split())
    there = {name_of(path) for path in FILES}
    imported = set().union(*(own_imports(path) for path in FILES))
    assert set(PLACE) <= there | imported


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_imports_lead_down(path: Path) -> None:
    """A module imports lower rows and earlier modules of its own row only."""
    me = name_of(path)
    for other in own_imports(path):
        assert other in PLACE, f"{me} imports {other}, which has no place"
        assert PLACE[other] < PLACE[me] or (me, other) in ALLOWED_UP, f"{me} imports {other}"


def test_source_side_and_sink_side_never_meet() -> None:
    """What reads the database and what shows the counts know nothing of each other."""
    for path in FILES:
        if name_of(path) in SOURCE_SIDE:
            assert not own_imports(path) & SINK_SIDE
        if name_of(path) in SINK_SIDE:
            assert not own_imports(path) & SOURCE_SIDE


def test_web_knows_errors_and_rendered_pages_alone() -> None:
    """The HTTP server can be lifted out: of the rest it sees errors and the rendered page."""
    for path in FILES:
        if name_of(path).split(".")[0] == "web":
            others = {name for name in own_imports(path) if not name.startswith("web")}
            assert others <= {"errors", "exposition"}


def test_nothing_behind_decode_knows_a_generation_from_a_decoder() -> None:
    """Only the tables choose between the decoders; all others see events."""
    inside = {name for name in PLACE if name.startswith("decode")}
    knowing = {
        name_of(path)
        for path in FILES
        if name_of(path) not in inside and own_imports(path) & DECODERS
    }
    assert knowing == {
        "tables.parts_v1",
        "tables.messages_v1",
        "tables.message_parts",
        "tables.messages_v2",
    }


def reads_a_clock(path: Path) -> bool:
    """Say whether a file names a clock of the standard library."""
    nodes = list(ast.walk(tree_of(path)))
    imported = (name for node in nodes for name in modules_named(node))
    asked = (ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute))
    return any(name.split(".")[0] == "time" for name in imported) or any(
        re.fullmatch(r"(datetime|date)\.(now|utcnow|today)", name) for name in asked
    )


def test_only_the_waker_reads_clocks() -> None:
    """Time is passed in, so that tests step it by hand; each exception has a reason."""
    readers = {name_of(path) for path in FILES if reads_a_clock(path)} - {"demo", "demo_run"}
    assert readers == set(CLOCKS)


def test_nothing_but_source_and_ledger_opens_sqlite() -> None:
    """
    One module opens the database of OpenCode, one our own; the rest names errors at most.

    A third has a temporary one, of no name.
    """
    opening = {
        name_of(path) for path in FILES if re.search(r"apsw\.Connection\(", path.read_text("utf-8"))
    }
    assert opening - {"demo"} == {"reader", "ledger.file", "backfill.timeline"}


def test_no_signal_handler_sets_an_event() -> None:
    """
    A handler runs between two steps of the main thread, also within `Event.wait`.

    It would wait for the lock that its own thread holds: the demo, told to end, hung.
    """
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "signal.signal":
                assert ".set(" not in ast.unparse(node), path
