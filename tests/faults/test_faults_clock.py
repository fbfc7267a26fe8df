"""A clock that is set, ahead or back, while calls run and others end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from harness.clock import HOUR_MS, FakeClock
from harness.databases import V1
from harness.exporters import Bench, Exposed, exposed
from harness.rereading import CALLS, REJECTED
from opencode_exporter.service.exporter import Exporter

YEAR_MS = 365 * 24 * HOUR_MS
MINUTE_MS = 60_000
CATCHING_UP = "opencode_exporter_catching_up"


@dataclass
class SteppingClock(FakeClock):
    """A clock whose time of day is set, while its stopwatch goes on as ever."""

    ahead_ms: int = 0

    def now_ms(self) -> int:
        """Return the time of day, right or wrong."""
        return self.ms + self.ahead_ms


class Machine:
    """OpenCode and the exporter on one machine: they share its clock."""

    def __init__(self, bench: Bench, clock: SteppingClock) -> None:
        self.clock = clock
        self.bench = bench
        self.database = V1(bench.source, now=clock.now_ms() - 60_000)
        self.exporter = self._start()

    def _start(self) -> Exporter:
        return self.bench.exporter()

    def restart(self) -> None:
        """End the exporter and start it again."""
        self.exporter.close()
        self.exporter = self._start()

    def step(self, ms: int) -> None:
        """Set the clock."""
        self.clock.ahead_ms += ms

    def call(self, *, status: str = "completed") -> str:
        """Write a call in a session of its own, by the clock as it is now."""
        self.database.now = self.clock.now_ms()
        self.clock.advance(ms=2000)  # it has ended by then
        return self.database.tool(self.database.message(self.database.session()), status=status)

    def poll(self) -> Exposed:
        """Poll after a while that no repetition is suppressed in, and return the page."""
        self.exporter.poll()
        return exposed(self.exporter)

    def after(self, *, ms: int) -> Exposed:
        """Let real time pass, then poll."""
        self.clock.advance(ms=ms)
        return self.poll()


@pytest.fixture
def machine(bench: Bench) -> Iterator[Machine]:
    """A machine with an exporter that has its baseline."""
    bench.clock = clock = SteppingClock()
    machine = Machine(bench, clock)
    machine.poll()
    yield machine
    machine.exporter.close()
    machine.database.close()


def running(page: Exposed) -> float | None:
    """Return how many calls run."""
    return page.value("opencode_tool_in_flight", tool="read")


STEPS = pytest.mark.parametrize(
    "step_ms", [YEAR_MS, 7 * HOUR_MS, -7 * HOUR_MS, -YEAR_MS], ids=["+1y", "+7h", "-7h", "-1y"]
)


@STEPS
@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_calls_count_across_a_step(machine: Machine, step_ms: int, restart: bool) -> None:
    """Before, at and after a step every call counts once, and everything stays ready and up."""
    for calls in (1, 2):
        machine.call()
        assert machine.poll().total(CALLS) == calls
    machine.step(step_ms)
    if restart:
        machine.restart()
    for calls in (3, 4):
        machine.call()
        page = machine.after(ms=MINUTE_MS)
        assert page.total(CALLS) == calls
        assert page.total(REJECTED) == 0
        assert page.value(CATCHING_UP) == 0
        assert machine.exporter.pages.not_ready() is None
        assert page.value("opencode_up", source="opencode.db") == 1
    machine.step(-step_ms)  # set right again
    machine.call()
    page = machine.after(ms=MINUTE_MS)
    assert page.total(CALLS) == 5
    began = page.value("opencode_exporter_baseline_timestamp_seconds")
    assert began == FakeClock().ms / 1000


@STEPS
def test_catching_up_ends_after_a_step(machine: Machine, step_ms: int) -> None:
    """The note that old calls came in stays for minutes, not until the clock is there again."""
    machine.database.now = machine.clock.now_ms() - HOUR_MS
    machine.database.tool(machine.database.message(machine.database.session()))
    assert machine.poll().value(CATCHING_UP) == 1
    machine.step(step_ms)
    assert machine.after(ms=4 * MINUTE_MS).value(CATCHING_UP) == 1
    assert machine.after(ms=2 * MINUTE_MS).value(CATCHING_UP) == 0


@pytest.mark.parametrize("step_ms", [7 * HOUR_MS, YEAR_MS], ids=["+7h", "+1y"])
def test_step_ahead_gives_no_call_up(machine: Machine, step_ms: int) -> None:
    """A call that runs while the clock is set, or the machine sleeps, has time to end."""
    part = machine.call(status="running")
    lost = machine.call(status="running")
    assert running(machine.poll()) == 2
    machine.step(step_ms)
    assert running(machine.after(ms=MINUTE_MS)) == 2
    machine.database.now = machine.clock.now_ms()
    machine.database.rewrite(part, status="completed")
    page = machine.after(ms=MINUTE_MS)
    assert page.by(CALLS, "status") == {("completed",): 1}
    assert running(page) == 1
    page = machine.after(ms=10 * MINUTE_MS)
    assert page.by(CALLS, "status") == {("completed",): 1, ("abandoned",): 1}
    assert lost


@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_step_back_keeps_no_call_for_ever(machine: Machine, restart: bool) -> None:
    """A call that never ends is given up 6 hours after the step, not when the clock is there."""
    machine.call(status="running")
    assert running(machine.poll()) == 1
    machine.step(-YEAR_MS)
    if restart:
        machine.restart()
    assert running(machine.after(ms=MINUTE_MS)) == 1
    assert running(machine.after(ms=5 * HOUR_MS)) == 1
    page = machine.after(ms=HOUR_MS)
    assert page.by(CALLS, "status") == {("abandoned",): 1}
    assert running(page) == 0


def test_rows_of_a_clock_that_was_ahead_count(machine: Machine) -> None:
    """Calls written some hours ahead of our time, and not read until it was set, count."""
    machine.step(20 * HOUR_MS)
    machine.call()
    machine.call(status="running")
    machine.step(-20 * HOUR_MS)
    page = machine.after(ms=MINUTE_MS)
    assert page.by(CALLS, "status") == {("completed",): 1}
    assert running(page) == 1
    newest = page.value("opencode_source_last_event_timestamp_seconds", source="opencode.db") or 0
    assert newest <= machine.clock.now_ms() / 1000
    page = machine.after(ms=6 * HOUR_MS)
    assert page.by(CALLS, "status") == {("completed",): 1, ("abandoned",): 1}
