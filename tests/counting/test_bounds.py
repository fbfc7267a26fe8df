"""What a process keeps does not grow with what it has counted: entries are counted, not bytes."""

from __future__ import annotations

import gc
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import apsw
import pytest

from harness.databases import V1, V2, call
from harness.exporters import Bench, exposed
from opencode_exporter.counting.fork_prints import FULL
from opencode_exporter.counting.tally import Tally
from opencode_exporter.counting.turns import cache, turns
from opencode_exporter.counting.turns.state import Conversation
from opencode_exporter.events import Remark
from opencode_exporter.ledger import open_rows
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.ledger.rules import Rules
from opencode_exporter.ledger.store import Store
from opencode_exporter.service.exporter import Exporter

CALLS: Final = "opencode_tool_invocations_total"
COPIES: Final = "opencode_exporter_copies_skipped_total"
AGENT: Final = "opencode-test"
_OTHERS: Final = (type, types.ModuleType, types.FunctionType, types.MethodType)


def reached(*roots: object) -> Iterator[object]:
    """Yield everything that some objects keep alive: containers, and instances of ours."""
    waiting = [*roots]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _OTHERS):
            continue
        seen.add(id(one))
        yield one
        waiting += gc.get_referents(one)


def entries(exporter: Exporter) -> int:
    """Return how many entries all containers of an exporter have."""
    kinds = (dict, list, set, frozenset, tuple)
    return sum(len(one) for one in reached(exporter) if isinstance(one, kinds))


def work_v1(database: V1, poll: Callable[[], None]) -> None:
    """Let a session run four calls in two steps, seen while they run, and end its turn."""
    session = database.session()
    database.message(session, role="user")
    for finish in ("tool-calls", "stop"):
        message = database.message(session)
        names = [f"call_{database.tick()}" for _ in range(2)]
        parts = [database.tool(message, call=name, status="running") for name in names]
        poll()
        for part in parts:
            database.rewrite(part, status="completed")
        database.rewrite_message(message, completed=database.tick(), finish=finish)
        poll()


def work_v2(database: V2, poll: Callable[[], None]) -> None:
    """Do the same in 2.x."""
    session = database.session()
    database.user(session)
    for _ in range(2):
        names = [f"call_{database.tick()}" for _ in range(2)]
        going = [call(name, status="running") for name in names]
        message = database.assistant(session, going, completed=None)
        poll()
        database.rewrite(message, [call(name) for name in names])
        poll()
    database.idle(session)
    poll()


@pytest.mark.slow
@pytest.mark.parametrize("generation", [V1, V2])
def test_nothing_is_kept_of_sessions_that_are_over(
    generation: type[V1 | V2], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each call that had been seen running a set stayed behind: 300 bytes, for ever."""
    monkeypatch.setattr(cache, "_CACHED", 4)
    exporter = bench.exporter()
    with generation(bench.source) as database:

        def poll() -> None:
            bench.clock.ms = database.now + 1000
            exporter.poll()
            exporter.pages.metrics("", viewer=AGENT)

        def work(sessions: int) -> int:
            for _ in range(sessions):
                if isinstance(database, V1):
                    work_v1(database, poll)
                else:
                    work_v2(database, poll)
                database.now += 2 * 3_600_000  # longer than a session counts as going on
            poll()
            return entries(exporter)

        work(10)
        before = work(10)
        after = work(40)
        assert exposed(exporter).total(CALLS) == 4 * 60
    exporter.close()
    assert after <= before + 40  # of the cursors' anchors there are a few more or less


def test_blocks_of_traces_stay_small_however_much_happens_at_one_time(bench: Bench) -> None:
    """
    All traces of 17 minutes were in one block, unpacked whole at each poll.

    A hundred thousand of them took 14 MB and 20 ms a poll, a million 116 MB.
    """
    count = 2000
    with V1(bench.source) as database, database.db:
        session = database.session()
        message = database.message(session)
        for number in range(count):
            database.tool(message, call=f"call_{number}", start=database.now - 1000)
    bench.clock.ms = database.now + 1000
    for copies in (0, count):
        exporter = bench.exporter()
        exporter.poll()
        page = exposed(exporter)
        exporter.close()
        assert page.total(CALLS) == count
        assert page.total(COPIES) >= copies
        if not copies:
            with V1(bench.source, ddl="", now=database.now) as later, later.db:
                later.fork(session)
    ledger = apsw.Connection(str(bench.ledger))
    sizes: list[int] = [*ledger.execute("SELECT length(block) FROM fork_print").get]
    ledger.close()
    assert len(sizes) > 2
    assert max(sizes) <= FULL


def test_a_start_reads_conversations_some_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were due some time were all read at once: after a busy hour, thousands."""
    monkeypatch.setattr(cache, "_SOME", 5)
    with V1(bench.source) as database, database.db:
        for _ in range(23):
            database.tool(database.message(database.session()), status="running")
    bench.clock.ms = database.now + 1000
    exporter = bench.exporter()
    exporter.poll()
    waiting = len(exporter.ledger._memory.cache._open)
    exporter.close()
    asked: list[int] = []
    due = Store.due

    def noted(store: Store, *about: Any) -> Any:
        found = due(store, *about)
        asked.append(len(found))
        return found

    monkeypatch.setattr(Store, "due", noted)
    exporter = bench.exporter()
    assert len(exporter.ledger._memory.cache._open) == waiting > 20
    assert sum(asked) == waiting
    assert max(asked) == 5
    exporter.close()


def test_rows_that_sleep_are_forgotten_beyond_a_number(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed processes leave rows that never end: all were kept, and looked at, for ever."""
    monkeypatch.setattr(open_rows, "MOST_ASLEEP", 4)
    exporter = bench.exporter()
    with V1(bench.source) as database:
        for _ in range(9):
            database.tool(database.message(database.session()), status="running")
            database.now += 3_600_000
            bench.clock.ms = database.now
            exporter.poll()
        bench.clock.advance(hours=24)
        exporter.poll()
        bench.clock.advance(hours=1)
        database.session()
        exporter.poll()
        assert exposed(exporter).by(CALLS, "status") == {("abandoned",): 9}
    kept = len(exporter.ledger._memory.open._rows)
    exporter.close()
    rules = Rules(series_limit=2000, abandon_after_ms=3_600_000)
    again = Ledger(Store(bench.ledger), bench.clock, rules)
    assert len(again._memory.open._rows) == kept <= 4
    again.close()


def said(skills: Iterable[str]) -> Remark:
    """Return what a user says who mentions some skills."""
    return Remark("ses", "msg", "session_message", 2, 1, "human", role="user", skills=tuple(skills))


def test_skills_that_wait_for_a_step_are_kept_up_to_a_number() -> None:
    """A message may mention thousands of skills, and be followed by others like it."""
    conversation = Conversation("ses")
    moved = turns.Turns(lambda _: conversation, Tally(), "salt")
    for message in range(3):
        moved.take_message(conversation, said(f"skill-{message}-{number}" for number in range(700)))
    assert {
        len(waiting) for waiting in (conversation.said, conversation.loads, conversation.fresh)
    } == {turns._MOST_LOADS}
    assert conversation.said[-1][1] == conversation.fresh[-1] == "skill-2-699"
