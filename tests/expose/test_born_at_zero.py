"""A series is born at 0: first events are seen by whoever adds up what is new."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.clock import FakeClock
from harness.databases import V1
from harness.exporters import Bench, Exposed, exposed
from opencode_exporter.ledger.viewers import MOST
from opencode_exporter.service.exporter import Exporter

USAGE: Final = "opencode_tool_usage_total"
COUNT: Final = "opencode_tool_duration_seconds_count"
A, B = "scrape a", "scrape b"


def seen(exporter: Exporter, viewer: str = A, *, arrives: bool = True) -> Exposed:
    """Poll, and return the page that a viewer is shown; it may not arrive."""
    exporter.pages.expect(viewer)
    exporter.poll()
    rendered = exporter.pages.metrics("", process=False, viewer=viewer)
    if arrives:
        rendered.sent()
    return Exposed(rendered.body.decode())


def used(page: Exposed) -> dict[str, float]:
    """Return the breakdown of calls by tool, series at 0 included."""
    found: dict[str, float] = {}
    for labels, value in page.samples.get(USAGE, {}).items():
        found[dict(labels)["tool"]] = found.get(dict(labels)["tool"], 0) + value
    return found


def test_what_appears_is_at_zero_once_for_each_server(bench: Bench) -> None:
    """A real Prometheus saw 0 of 14 first calls: `increase()` needs a 0 before the first value."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        db.tool(message, tool="read")
        assert used(seen(exporter)) == {"read": 1}, "what was there at the baseline is history"
        db.tool(message, tool="read")
        db.tool(message, tool="grep")
        page = seen(exporter)
        assert used(page) == {"read": 2, "grep": 0}
        assert page.value(COUNT, tool="grep", status="completed") == 0
        assert page.value("opencode_tool_duration_seconds_bucket", **LAST) == 0
        assert used(exposed(exporter)) == {"read": 2, "grep": 1}, "others see what is true"
        db.tool(message, tool="grep")
        assert used(seen(exporter)) == {"read": 2, "grep": 2}
        assert used(seen(exporter, B)) == {"read": 2, "grep": 0}, "each server has its own first"
        assert used(seen(exporter, B)) == {"read": 2, "grep": 2}
    exporter.close()


LAST: Final = {"tool": "grep", "status": "completed", "le": "+Inf"}


def test_a_page_that_did_not_arrive_was_not_seen(bench: Bench) -> None:
    """A server that hung up is shown the 0 again."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        seen(exporter)
        db.tool(message, tool="grep")
        assert used(seen(exporter, arrives=False)) == {"grep": 0}
        assert used(seen(exporter)) == {"grep": 0}
        assert used(seen(exporter)) == {"grep": 1}
    exporter.close()


def test_what_has_been_shown_outlives_the_process(bench: Bench) -> None:
    """A value is shown when that it may be is on disk: no death makes a series 0 again."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        seen(exporter)
        db.tool(message, tool="grep")
        assert used(seen(exporter)) == {"grep": 0}
        exporter.close()  # before that page was noted
        exporter = bench.exporter()
        db.tool(message, tool="glob")
        assert used(seen(exporter)) == {"grep": 0, "glob": 0}
        assert used(seen(exporter)) == {"grep": 1, "glob": 1}
        exporter.close()
        exporter = bench.exporter()
        assert used(seen(exporter)) == {"grep": 1, "glob": 1}
    exporter.close()


def test_a_server_that_is_new_sees_the_past_as_history(bench: Bench) -> None:
    """Months of a ledger must not look like traffic to a server that comes later."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        seen(exporter)
        db.tool(message, tool="grep")
        seen(exporter)
        bench.clock.advance(hours=1)
        assert used(seen(exporter, B)) == {"grep": 1}
        db.tool(message, tool="glob")
        assert used(seen(exporter, B)) == {"grep": 1, "glob": 0}
    exporter.close()


def test_who_comes_right_after_a_first_start_has_missed_nothing(bench: Bench) -> None:
    """What happened between the baseline and the very first scrape is traffic, not history."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        exporter.poll()
        db.tool(message, tool="grep")
        assert used(seen(exporter)) == {"grep": 0}
        assert used(seen(exporter)) == {"grep": 1}
    exporter.close()


def test_series_that_are_shown_as_one_are_as_old_as_the_oldest(bench: Bench) -> None:
    """With projects hidden, a new project adds to a series that has been there."""
    exporter = bench.exporter(project_names="off")
    with V1(bench.source) as db:
        db.tool(db.message(db.session()), tool="grep")
        seen(exporter)
        db.tool(db.message(db.session(project="other")), tool="grep")
        assert used(seen(exporter)) == {"grep": 2}
    exporter.close()


def test_a_ledger_begun_anew_keeps_nobodys_mark(bench: Bench) -> None:
    """Births are counted from 0 in a new ledger: an old mark would hide the 0 of its series."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        seen(exporter)
        for number in range(3):
            db.tool(message, tool=f"tool_{number}")
            seen(exporter)
        exporter.close()
        bench.ledger.write_bytes(b"broken" * 1000)
        exporter = bench.exporter()
        seen(exporter)
        db.tool(message, tool="tool_0")
        assert used(seen(exporter)) == {"tool_0": 0}
        assert used(seen(exporter)) == {"tool_0": 1}
    exporter.close()


@pytest.mark.slow
def test_only_so_many_servers_are_known(bench: Bench) -> None:
    """Who invents user agents does not make the ledger grow; the forgotten see what is true."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        seen(exporter)
        for number in range(3 * MOST):
            seen(exporter, f"scrape {number}")
            db.tool(message, tool=f"tool_{number % 5}")
        assert sum(seen(exporter, A).by(USAGE, "tool").values()) == 3 * MOST
    exporter.close()
    ledger = apsw.Connection(str(bench.ledger))
    assert ledger.execute("SELECT count(*) FROM viewer").get == MOST
    ledger.close()


MOVES: Final = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 9)),
        st.tuples(st.just("poll"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.sampled_from(["scrape", "vanish"]), st.integers(0, 1)),
    ),
    max_size=40,
)


class Watched:
    """An exporter that two servers scrape, each of which adds up what is new."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.exporter = bench.exporter()
        self.first = [used(seen(self.exporter, viewer)) for viewer in (A, B)]
        self._pages = [*self.first]
        self.added = [Counter[str](), Counter[str]()]

    def restart(self) -> None:
        """End without a word, and start again."""
        self.exporter.close()
        self.exporter = self._bench.exporter()

    def scrape(self, viewer: int) -> None:
        """Let one of the servers scrape."""
        now, before = used(seen(self.exporter, (A, B)[viewer])), self._pages[viewer]
        for tool, value in now.items():
            assert value >= before[tool] if tool in before else value == 0
            self.added[viewer][tool] += round(value - before.get(tool, 0))
        self._pages[viewer] = now

    def vanish(self, viewer: int) -> None:
        """Let one scrape, and hang up before the page arrives."""
        seen(self.exporter, (A, B)[viewer], arrives=False)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(history=st.integers(0, 3), moves=MOVES)
def test_whatever_happens_the_steps_add_up(history: int, moves: list[tuple[str, int]]) -> None:
    """What a server adds up from one page to the next is what happened, and nothing falls."""
    issued = Counter[str]()
    with TemporaryDirectory() as directory:
        bench = Bench(Path(directory), FakeClock())
        with V1(bench.source) as db:
            message = db.message(db.session())
            for number in range(history):
                db.tool(message, tool=f"tool_{number}")
            watched = Watched(bench)
            assert watched.first == 2 * [{f"tool_{number}": 1 for number in range(history)}]
            for move, number in moves:
                if move == "call":
                    db.tool(message, tool=f"tool_{number}")
                    issued[f"tool_{number}"] += 1
                elif move == "poll":
                    watched.exporter.poll()
                elif move == "restart":
                    watched.restart()
                else:
                    getattr(watched, move)(number)
            for viewer in (0, 0, 1, 1):
                watched.scrape(viewer)
            watched.exporter.close()
    assert [+added for added in watched.added] == [issued, issued]
