"""
`opencode stats` of the real 1.18.33 agrees with the exporter on a database without forks.

Both read the same file: recordings of every 1.x, which it brings up to date first,
and the demo's history.  It counts again in every fork what the fork copied, so forks
are deleted first.  Where the two count other things by definition, `Apart` counts what
lies between, from the source's rows, and says why.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

from contract import opencode_stats_page as stats_page
from contract.opencode_stats_page import Page
from contract.oracle.calls import is_typed
from contract.oracle.reading import read
from contract.oracle.values import load, obj, word
from contract.recorder.provision import MODEL
from harness.clock import FakeClock
from harness.exporters import Bench, Exposed
from harness.real_tools import real_opencode
from harness.recordings import unpack
from opencode_exporter.demo import Demo

VERSION = "1.18.33"
RECORDINGS = ("1.2.27", "1.14.48", "1.17.11", "1.18.33", "turns-1.2.27", "turns-1.18.33")
OLD_NAMES = {"shell": "bash", "subagent": "task", "patch": "apply_patch"}
"""What the source calls the tools that carry their 2.x name here."""
UNCOUNTED = {"Days", "Avg Cost/Day", "Median Tokens/Session"}
"""Printed figures that no metric is about."""
DEMOS = {"demo": 3.0, "short demo": 0.1}
"""Days of history; the less there is, the less is rounded."""
LONG_AFTER_MS = 1_900_000_000_000


@dataclass(frozen=True)
class Apart:
    """
    What `opencode stats` and the exporter count differently, by definition.

    Attributes:
        empty: Sessions without a message.  It counts rows of ``session``; here a session
            counts at its first message.
        typed: Commands that the user typed.  It counts every tool part, so each is a
            ``bash``; here they are not invocations.
        invalid: Calls that it could not make, by the name they have here.  It counts them
            as its tool ``invalid``; here they are errors of the tool that was meant, or
            of ``_unknown`` where the model made it up.
        unfinished: Assistant messages without a ``finish``, by model.  It counts messages
            of a model; here its steps that finished.
    """

    empty: int
    typed: int
    invalid: Counter[str]
    unfinished: Counter[str]


_OF_CALLS = Apart(0, 1, Counter({"shell": 2, "_unknown": 1}), Counter({MODEL: 9}))
_OF_TURNS = Apart(0, 1, Counter(), Counter({MODEL: 7}))
APART = {name: _OF_TURNS if name.startswith("turns-") else _OF_CALLS for name in RECORDINGS}
"""What lies between in each recording."""


@dataclass(frozen=True)
class Both:
    """A database's name, what OpenCode prints about it, and what the exporter shows."""

    name: str
    printed: Page
    page: Exposed
    apart: Apart


SOURCES = [pytest.param(name, marks=pytest.mark.real) for name in (*RECORDINGS, *DEMOS)]


@pytest.fixture(scope="module", params=SOURCES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Let OpenCode print its statistics of a database without forks, then read it."""
    opencode, name = real_opencode(VERSION), str(request.param)
    root = tmp_path_factory.mktemp("home")
    source = stats_page.database(root)
    if name in DEMOS:
        _demo(source, DEMOS[name], tmp_path_factory.mktemp("recording"))
    else:
        unpack(name, source.parent)
    _delete_forks(source)
    printed = stats_page.stats(opencode, root)
    assert not any(one.fork or one.copies for one in read(source))
    return Both(name, printed, _read(root, source), _apart(source))


def _read(root: Path, source: Path) -> Exposed:
    # Long after: what never ended has been given up, and so it is counted.
    return Bench(root, FakeClock(LONG_AFTER_MS)).read_once(source_paths=(source,))


def _demo(path: Path, days: float, scratch: Path) -> None:
    """Write a history of the demo, with OpenCode's notes on migrations: it makes none."""
    demo = Demo(path.parent, generation="v1", history_days=days, seed=5)
    demo.create()
    demo.close()
    db = apsw.Connection(str(path))
    db.execute("ATTACH ? AS recorded", (str(unpack(VERSION, scratch)),))
    db.execute("INSERT INTO migration SELECT * FROM recorded.migration")
    db.close()


def _delete_forks(path: Path) -> None:
    """Delete forks and their sub-agents' sessions with all that is in them, as OpenCode does."""
    forks = [one.id for one in read(path) if one.fork]
    db = apsw.Connection(str(path))
    db.execute("PRAGMA foreign_keys = ON")
    with db:
        while forks:
            gone = forks.pop()
            children = db.execute("SELECT id FROM session WHERE parent_id = ?", (gone,))
            forks += [child for (child,) in children]
            db.execute("DELETE FROM session WHERE id = ?", (gone,))
    db.close()


def _apart(path: Path) -> Apart:
    db = apsw.Connection(str(path))
    empty = "SELECT count(*) FROM session WHERE id NOT IN (SELECT session_id FROM message)"
    (sessions,) = next(db.execute(empty))
    parts = [load(data) for (data,) in db.execute("SELECT data FROM part")]
    rows = [load(data) for (data,) in db.execute("SELECT data FROM message")]
    db.close()
    tools = [part for part in parts if part.get("type") == "tool"]
    return Apart(
        empty=int(sessions),
        typed=sum(map(is_typed, tools)),
        invalid=Counter(_meant(part) for part in tools if part["tool"] == "invalid"),
        unfinished=Counter(
            f"{row['providerID']}/{row['modelID']}"
            for row in rows
            if row["role"] == "assistant" and not row.get("finish")
        ),
    )


def _meant(part: dict[str, Any]) -> str:
    """Return the name that a call of the tool ``invalid`` has here."""
    given = obj(obj(part.get("state")).get("input"))
    made_up = "unavailable tool" in word(given.get("error"))
    tool = word(given.get("tool"))
    return "_unknown" if made_up else {old: new for new, old in OLD_NAMES.items()}.get(tool, tool)


def _usage(page: Exposed, model: str | None = None) -> Counter[str]:
    """Return the tokens by type, of one model or of all."""
    used: Counter[str] = Counter()
    for (provider, name, kind), number in page.by(
        "opencode_tokens_total", "provider", "model", "token_type"
    ).items():
        if model in {None, f"{provider}/{name}"}:
            used[kind] += number
    return used


def _by_model(page: Exposed, metric: str) -> Counter[str]:
    """Return a metric's sums under OpenCode's names of models."""
    sums: Counter[str] = Counter()
    for key, number in page.by(metric, "provider", "model").items():
        sums["/".join(key)] += number
    return sums


def _is_printed(amount: float, printed: str) -> bool:
    """Return whether an amount is printed like that; sums differ in the last bits of a float."""
    shown, rounding = stats_page.dollars(printed)
    return abs(amount - shown) <= rounding + 1e-9


@pytest.mark.slow
def test_sessions_and_messages_are_those_that_opencode_prints(both: Both) -> None:
    """Sessions, but for empty ones, and messages of both roles agree to the last one."""
    sessions = both.page.total("opencode_sessions_total") + both.apart.empty
    assert both.printed.figures["Sessions"] == stats_page.count(sessions)
    messages = both.page.total("opencode_messages_total")
    assert both.printed.figures["Messages"] == stats_page.count(messages)


@pytest.mark.slow
def test_tokens_are_those_that_opencode_prints(both: Both) -> None:
    """Four types agree as printed; reasoning has no line, but is in the tokens per session."""
    used, printed = _usage(both.page), both.printed.figures
    shown = {
        "Input": used["input"],
        "Output": used["output"],
        "Cache Read": used["cache_read"],
        "Cache Write": used["cache_write"],
        "Avg Tokens/Session": used.total()
        / (both.page.total("opencode_sessions_total") + both.apart.empty),
    }
    assert {label: stats_page.tokens(number) for label, number in shown.items()} == {
        label: printed[label] for label in shown
    }


@pytest.mark.slow
def test_cost_is_what_opencode_prints(both: Both) -> None:
    """The dollars agree to the cent, and no other printed figure is left uncompared."""
    assert _is_printed(
        both.page.total("opencode_cost_usd_total"), both.printed.figures["Total Cost"]
    )
    compared = {"Sessions", "Messages", "Total Cost", "Avg Tokens/Session"}
    kinds = {"Input", "Output", "Cache Read", "Cache Write"}
    assert both.printed.figures.keys() == compared | kinds | UNCOUNTED


@pytest.mark.slow
def test_models_are_those_that_opencode_prints(both: Both) -> None:
    """Steps, tokens and dollars of each model agree; its output holds the reasoning."""
    steps = _by_model(both.page, "opencode_steps_total") + both.apart.unfinished
    spent = _by_model(both.page, "opencode_cost_usd_total")
    assert both.printed.models.keys() == steps.keys()
    for model, printed in both.printed.models.items():
        used = _usage(both.page, model)
        assert _is_printed(spent[model], printed["Cost"])
        assert printed == {
            "Cost": printed["Cost"],
            "Messages": stats_page.count(steps[model]),
            "Input Tokens": stats_page.tokens(used["input"]),
            "Output Tokens": stats_page.tokens(used["output"] + used["reasoning"]),
            "Cache Read": stats_page.tokens(used["cache_read"]),
            "Cache Write": stats_page.tokens(used["cache_write"]),
        }


@pytest.mark.slow
def test_tools_are_those_that_opencode_prints(both: Both) -> None:
    """Calls of each tool agree, whatever their status, but for typed and invalid ones."""
    calls: Counter[str] = Counter()
    for (tool,), number in both.page.by("opencode_tool_invocations_total", "tool").items():
        calls[tool] += number
    calls.subtract(both.apart.invalid)
    assert min(calls.values()) >= 0
    calls["invalid"] += both.apart.invalid.total()
    calls["shell"] += both.apart.typed
    shown: Counter[str] = Counter()
    for tool, number in calls.items():
        shown[stats_page.tool(OLD_NAMES.get(tool, tool))] += number
    assert both.printed.tools == +shown


@pytest.mark.slow
def test_what_lies_between_is_known(both: Both) -> None:
    """In recordings what is counted differently by definition is no more than was explained."""
    assert both.apart == APART.get(both.name, both.apart)


@pytest.mark.real
@pytest.mark.parametrize("name", ["1.18.33", "turns-1.18.33"])
def test_opencode_counts_in_forks_again_what_they_copied(name: str, tmp_path: Path) -> None:
    """Why forks are deleted: it prints as many messages more as its forks have copied."""
    source = unpack(name, stats_page.database(tmp_path).parent)
    printed = stats_page.stats(real_opencode(VERSION), tmp_path)
    page = _read(tmp_path, source)
    assert printed.figures["Sessions"] == stats_page.count(page.total("opencode_sessions_total"))
    copied = sum(one.copies for one in read(source))
    assert copied > 0
    messages = page.total("opencode_messages_total") + copied
    assert printed.figures["Messages"] == stats_page.count(messages)


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (949, "949"),
        (343.5, "344"),
        (1_249, "1.2K"),
        (1_249.5, "1.3K"),  # a mean is rounded twice
        (1_250, "1.3K"),  # halves go up
        (212_249, "212.2K"),
        (212_250, "212.3K"),
        (11_650_000, "11.7M"),
    ],
)
def test_tokens_are_rounded_as_opencode_rounds_them(number: float, printed: str) -> None:
    """Rounding hides less than a unit of the last printed digit."""
    assert stats_page.tokens(number) == printed


@pytest.mark.parametrize(
    ("amount", "is_printed"),
    [(0.22254, True), (0.2151, True), (0.2149, False), (0.2251, False)],
)
def test_dollars_may_differ_by_rounding_alone(amount: float, is_printed: bool) -> None:
    """An amount that would be printed as another one is noticed."""
    assert _is_printed(amount, "$0.22") is is_printed


def test_no_line_of_the_page_is_left_unread() -> None:
    """A page of another shape is an error, not a page with fewer figures."""
    with pytest.raises(ValueError, match="not a line"):
        stats_page.parsed("│Sessions 27│")
