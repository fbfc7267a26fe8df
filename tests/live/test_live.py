"""
The exporter beside a working OpenCode, as Prometheus sees it.

Real OpenCode binaries work on a scripted model while `serve` runs and a real
Prometheus scrapes it; what PromQL answers is compared with what the model issued.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from contract.recorder import Dialect, Running, Sandbox, Scene, Step, scenes
from harness.exporters import Exposed
from harness.processes.prometheus import Prometheus
from harness.processes.served import Served
from harness.real_tools import real_opencode
from harness.recordings import truth, unpack
from harness.waiting import PATIENCE_S, wait_for

TOOLS = "opencode_tool_invocations_total"
SKILLS = "opencode_skill_invocations_total"
HISTORY = 6
REJECTED = "opencode_exporter_rows_rejected_total"
MANY = 250_000
BAD = 100
ENDED_V1 = """
    SELECT count(*) FROM part WHERE data ->> '$.type' = 'tool'
    AND data ->> '$.state.status' IN ('completed', 'error')
"""
ENDED_V2 = """
    SELECT count(*) FROM session_message AS row, json_each(row.data, '$.content') AS item
    WHERE row.type = 'assistant' AND item.value ->> '$.type' = 'tool'
    AND item.value ->> '$.state.status' IN ('completed', 'error')
"""

pytestmark = [pytest.mark.real]


@pytest.fixture(params=["1.18.33", "2.0.15"])
def oc(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    """A home in which a real OpenCode of either generation can run."""
    with Sandbox(real_opencode(str(request.param)), tmp_path / "oc") as sandbox:
        yield sandbox


@pytest.fixture
def exporter(oc: Sandbox, tmp_path: Path) -> Served:
    """An exporter of that home's database; not started yet."""
    return Served(oc.database, tmp_path / "exporter", home=oc.root / "home")


@dataclass
class Stage:
    """All that plays together in one test."""

    oc: Sandbox
    exporter: Served
    prometheus: Prometheus

    @property
    def dialect(self) -> Dialect:
        """Return how this OpenCode spells its calls."""
        return Dialect(self.oc.binary, self.oc.project)

    def number(self, promql: str, at: float | None = None) -> float | None:
        """Return Prometheus' answer that is one number."""
        return self.prometheus.number(promql, at)

    def scraped(self) -> float:
        """
        Wait for two scrapes that begin after now, and return the second one's moment.

        The first shows series at 0 that appeared since the one before; see `snapshot.py`.
        """
        return self.prometheus.scraped(time.time(), times=2)


def issued(oc: Sandbox) -> Counter[tuple[str, ...]]:
    """Return the calls that the model issued so far, as tool and status."""
    return Counter((one.call.canonical, one.call.status) for one in oc.model.issued)


def counted(page: Exposed) -> Counter[tuple[str, ...]]:
    """Return the invocations on a page, by tool and status."""
    return page.by(TOOLS, "tool", "status")


def files(oc: Sandbox) -> set[str]:
    """Return the names of the database's files."""
    return {path.name for path in oc.data.glob("opencode.db*")}


def waiting(d: Dialect, name: str) -> Scene:
    """Return a scene whose command runs until the file `<name>.go` is there."""
    command = f"touch {name}.started; until [ -e {name}.go ]; do sleep 0.1; done"
    return Scene(name, (Step(calls=(d.shell(command),)), Step(text="Done.")))


def test_prometheus_sees_what_the_model_issued(
    oc: Sandbox, exporter: Served, tmp_path: Path
) -> None:
    """History is no traffic; live calls are, each once, at once, and across a SIGKILL of ours."""
    with Prometheus(exporter.target, tmp_path / "prometheus") as prometheus, ExitStack() as later:
        stage = Stage(oc, exporter, prometheus)
        oc.run(scenes.bulk(stage.dialect, "before", HISTORY))
        left = files(oc)
        assert oc.binary.is_v2 == (left == {"opencode.db"})
        later.enter_context(exporter)
        check_history_is_no_traffic(stage)
        check_live_calls_are_traffic(stage)
        check_call_in_flight_survives_a_kill(stage)
        check_nothing_was_lost_or_repeated(stage)
        check_files_are_left_as_without_us(stage, left)
        assert exporter.stop() == 0


def check_history_is_no_traffic(stage: Stage) -> None:
    """Assert that what was there before the first scrape is a total and no increase."""
    wait_for(stage.exporter.is_ready)
    at = stage.prometheus.scraped(time.time(), times=3)
    assert stage.number("up", at) == 1
    assert stage.number("opencode_up", at) == 1
    assert stage.number(f"sum({TOOLS})", at) == HISTORY
    assert stage.number(f"sum({SKILLS})", at) == 1
    assert stage.number(f"sum(increase({TOOLS}[5m]))", at) == 0
    assert stage.number(f"sum(increase({SKILLS}[5m]))", at) == 0


def check_live_calls_are_traffic(stage: Stage) -> None:
    """Assert that increases are what the model issues, also of names that were never used."""
    oc, exporter, d = stage.oc, stage.exporter, stage.dialect
    before = stage.scraped()
    running = oc.start(scenes.parallel(d))
    check_pages_keep_up(stage, HISTORY + 4)
    assert running.wait() == 0
    oc.run(scenes.skill_errors(d))
    assert counted(exporter.page()) == issued(oc)
    now = stage.scraped()
    live = sum(issued(oc).values()) - HISTORY
    assert stage.number(f"sum({TOOLS}) - sum({TOOLS} @ {before:.3f})", now) == live
    # increase() extrapolates to the ends of its range; read at a scrape it is nearly exact.
    for promql, count in (
        (f"sum(increase({TOOLS}[5m]))", live),
        (f'increase({TOOLS}{{tool="read",status="completed"}}[5m])', 1),
        (f'increase({SKILLS}{{skill="release-notes",status="completed"}}[5m])', 1),
        (f'increase({SKILLS}{{skill="forbidden-ways",status="denied"}}[5m])', 1),
        (f'increase({SKILLS}{{skill="_unknown",status="error"}}[5m])', 1),
    ):
        assert stage.number(promql, now) == pytest.approx(count, rel=0.15), promql


def check_pages_keep_up(stage: Stage, calls: int) -> None:
    """Assert that each page holds all that was committed before it was asked for."""

    def caught_up() -> bool:
        committed = ended(stage.oc)
        assert stage.exporter.page().total(TOOLS) >= committed
        return committed == calls

    wait_for(caught_up, 60)


def ended(oc: Sandbox) -> int:
    """Return how many ended calls OpenCode has committed; asks the database by plain SQL."""
    if not oc.database.with_name("opencode.db-wal").exists():
        return 0  # nobody has it open: an ordinary reader would leave files behind
    database = apsw.Connection(str(oc.database), flags=apsw.SQLITE_OPEN_READONLY)
    database.set_busy_timeout(5000)
    try:
        found: int = database.execute(ENDED_V2 if oc.binary.is_v2 else ENDED_V1).get
        return found
    finally:
        database.close()


def check_call_in_flight_survives_a_kill(stage: Stage) -> None:
    """Assert that a running call is shown, also by an exporter that starts while it runs."""
    oc, exporter = stage.oc, stage.exporter
    shells = ended_shells(exporter.page())
    running = oc.start(waiting(stage.dialect, "nap"))
    wait_for((oc.project / "nap.started").exists, 60)
    seen = time.time()
    wait_for(lambda: stage.number('opencode_tool_in_flight{tool="shell"}') == 1)
    exporter.kill()
    wait_for(lambda: stage.number("up") == 0)
    exporter.start()
    wait_for(exporter.is_ready)
    assert exporter.page().value("opencode_tool_in_flight", tool="shell") == 1
    assert stage.number('opencode_tool_in_flight{tool="shell"}', stage.scraped()) == 1
    took = time.time() - seen
    finish(running, oc.project / "nap.go")
    page = exporter.page()
    assert page.value("opencode_tool_in_flight", tool="shell") == 0
    assert stage.number('opencode_tool_in_flight{tool="shell"}', stage.scraped()) == 0
    count, seconds = ended_shells(page)
    assert count == shells[0] + 1
    assert took <= seconds - shells[1] <= took + 60


def finish(running: Running, signal: Path) -> None:
    """Let a scene of `waiting` go on, and wait for its end."""
    signal.touch()
    assert running.wait() == 0


def ended_shells(page: Exposed) -> tuple[float, float]:
    """Return count and sum of the durations of completed commands."""
    name = "opencode_tool_duration_seconds"
    labels = {"tool": "shell", "status": "completed"}
    return (
        page.value(f"{name}_count", **labels) or 0,
        page.value(f"{name}_sum", **labels) or 0,
    )


def check_nothing_was_lost_or_repeated(stage: Stage) -> None:
    """Assert that the numbers after a kill go on where they were."""
    assert stage.oc.model.unscripted == ()
    assert counted(stage.exporter.page()) == issued(stage.oc)
    at = stage.scraped()
    assert stage.number(f"sum(resets({TOOLS}[5m]))", at) == 0
    assert stage.number(f"sum(resets({SKILLS}[5m]))", at) == 0
    assert stage.number(f"sum({TOOLS})", at) == sum(issued(stage.oc).values())
    assert stage.number("sum(opencode_exporter_rows_rejected_total) or vector(0)", at) == 0
    assert stage.number("opencode_exporter_catching_up", at) == 0


def check_files_are_left_as_without_us(stage: Stage, left: set[str]) -> None:
    """Assert that OpenCode's last close does to its WAL what it does when nobody reads along."""
    assert files(stage.oc) == left
    assert counted(stage.exporter.page()) == issued(stage.oc)


def test_database_that_appears_later_is_counted_whole(oc: Sandbox, exporter: Served) -> None:
    """An exporter that was there before OpenCode's first run counts all of that run."""
    with exporter:
        page = exporter.page()
        assert not exporter.is_ready()
        assert page.value("opencode_up", source="opencode.db") == 0
        assert TOOLS not in page.samples
        oc.run(scenes.parallel(Dialect(oc.binary, oc.project)))
        page = exporter.page()
        assert counted(page) == issued(oc)
        assert page.value("opencode_up", source="opencode.db") == 1
        assert exporter.is_ready()


@pytest.mark.timeout(600)
def test_long_history_is_no_traffic(tmp_path: Path) -> None:
    """A history that takes several scrapes to read arrives whole: nothing climbs through it."""
    source = unpack("1.18.33", tmp_path / "data")
    add_bad_rows(source, "before")
    repeat_a_command(source, MANY)
    add_bad_rows(source, "after")
    shells = MANY + sum(
        call["canonical"] == "shell" and call["status"] == "completed"
        for call in truth("1.18.33")["invocations"]
    )
    exporter = Served(source, tmp_path / "exporter", home=tmp_path)
    with (
        Prometheus(exporter.target, tmp_path / "prometheus", interval="400ms") as prometheus,
        ExitStack() as later,
    ):
        wait_for(lambda: prometheus.query("up"))  # it tries, seconds after its own start
        later.enter_context(exporter)
        wait_for(exporter.is_ready, 4 * PATIENCE_S)  # other work may have the machine
        at = prometheus.scraped(time.time(), times=3)
        # Some scrapes came while it was read, or this test would prove nothing.
        progress = prometheus.number(
            "min_over_time(opencode_exporter_history_progress_ratio[5m])", at
        )
        assert progress is not None
        assert progress < 1
        ended = f'{TOOLS}{{tool="shell",status="completed"}}'
        assert prometheus.number(f"min_over_time({ended}[5m])", at) == shells
        assert prometheus.number(f"sum(increase({TOOLS}[5m]))", at) == 0
        assert prometheus.number(f"sum(min_over_time({REJECTED}[5m]))", at) == 2 * BAD


def add_bad_rows(source: Path, when: str) -> None:
    """Write rows to a 1.x database that cannot be decoded."""
    database = apsw.Connection(str(source))
    database.execute(
        """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT INTO part (id, message_id, session_id, time_created, time_updated, data)
        SELECT id || ? || i, message_id, session_id, time_created, time_updated, '{'
        FROM n, (SELECT * FROM part LIMIT 1)
        """,
        (BAD, when),
    )
    database.close()


def repeat_a_command(source: Path, times: int) -> None:
    """Write a completed command of a 1.x database many times, as calls of their own."""
    database = apsw.Connection(str(source))
    database.execute(
        """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT INTO part (id, message_id, session_id, time_created, time_updated, data)
        SELECT part.id || '_' || i, message_id, session_id, time_created, time_updated, data
        FROM n, part WHERE part.id = (
            SELECT id FROM part WHERE data ->> '$.callID' = 'call_commands_0_0' LIMIT 1)
        """,
        (times,),
    )
    database.close()
