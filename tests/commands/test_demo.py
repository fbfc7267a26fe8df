"""
The demo writes what OpenCode writes: same schema, same states, every call accounted for.

Looks at its database with plain SQL; knows nothing of the exporter.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import apsw
import pytest

from harness.processes.process import LineProcess
from harness.real_tools import real_opencode
from harness.waiting import PATIENCE_S, SOON_S
from opencode_exporter import demo as package
from opencode_exporter.demo import Demo, store, world

Generation = Literal["v1", "v2"]
GENERATIONS = ("v1", "v2")
VERSIONS = {"v1": "1.18.33", "v2": "2.0.15"}
LIST_SESSIONS = {"v1": ["session", "list"], "v2": ["session", "list", "--standalone"]}

# Every tool call of a session that is no fork: tool, status.
CALLS = {
    "v1": """
        SELECT json_extract(data, '$.tool'), json_extract(data, '$.state.status') FROM part
        WHERE json_extract(data, '$.type') = 'tool'
          AND session_id NOT IN (SELECT id FROM session WHERE title LIKE '%(fork #%')
    """,
    "v2": """
        SELECT json_extract(value, '$.name'), json_extract(value, '$.state.status')
        FROM session_message AS m, json_each(m.data, '$.content')
        WHERE m.type = 'assistant' AND json_extract(value, '$.type') = 'tool'
          AND m.session_id NOT IN (SELECT id FROM session_v2 WHERE fork_session_id IS NOT NULL)
    """,
}
# Every call that there is: an identity, its status.
STATES = {
    "v1": """
        SELECT id, json_extract(data, '$.state.status') FROM part
        WHERE json_extract(data, '$.type') = 'tool'
    """,
    "v2": """
        SELECT m.id || ' ' || json_extract(value, '$.id'), json_extract(value, '$.state.status')
        FROM session_message AS m, json_each(m.data, '$.content')
        WHERE m.type = 'assistant' AND json_extract(value, '$.type') = 'tool'
    """,
}
# The status of every load of the skill that breaks, in sessions that are no fork.
LOADS = {
    "v1": f"""
        SELECT json_extract(data, '$.state.status') FROM part
        WHERE json_extract(data, '$.state.input.name') = '{world.BROKEN}'
          AND json_extract(data, '$.tool') = 'skill'
          AND session_id NOT IN (SELECT id FROM session WHERE title LIKE '%(fork #%')
    """,
    "v2": f"""
        SELECT json_extract(value, '$.state.status')
        FROM session_message AS m, json_each(m.data, '$.content')
        WHERE m.type = 'assistant' AND json_extract(value, '$.name') = 'skill'
          AND json_extract(value, '$.state.input.id') = '{world.BROKEN}'
          AND m.session_id NOT IN (SELECT id FROM session_v2 WHERE fork_session_id IS NOT NULL)
    """,
}
ORDER = {"pending": 0, "streaming": 0, "running": 1, "completed": 2, "error": 2}


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read a database as another process would."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(2_000)
        return list(connection.execute(statement))
    finally:
        connection.close()


def ended(path: Path, generation: str) -> Counter[tuple[str, str]]:
    """Count the calls that ended, by tool and status."""
    found = Counter(rows(path, CALLS[generation]))
    return Counter({key: n for key, n in found.items() if key[1] in {"completed", "error"}})


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.02)


@contextmanager
def living(demo: Demo) -> Iterator[threading.Event]:
    """Let a demo work in a thread, and end it."""
    stop = threading.Event()
    thread = threading.Thread(target=demo.run, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


@pytest.mark.real
@pytest.mark.parametrize("generation", GENERATIONS)
def test_shipped_schema_is_that_of_a_fresh_database(tmp_path: Path, generation: str) -> None:
    """A database of the demo has the tables and indexes of a real one, word for word."""
    program = real_opencode(VERSIONS[generation]).path
    subprocess.run(
        [program, *LIST_SESSIONS[generation]],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PWD": str(tmp_path),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=True,
    )
    real = tmp_path / ".local" / "share" / "opencode" / "opencode.db"
    ours = tmp_path / "demo.db"
    store.create(ours, generation).close()
    statement = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"
    assert rows(ours, statement) == rows(real, statement)


@pytest.mark.slow
@pytest.mark.parametrize("generation", GENERATIONS)
def test_history_holds_the_calls_that_the_summary_names(
    tmp_path: Path, generation: Generation
) -> None:
    """Counting the rows by tool and status gives what `create` said it had written."""
    demo = Demo(tmp_path, generation=generation, history_days=2, seed=7)
    summary = demo.create().rows.copy()
    assert summary.total() > 1_500
    assert ended(demo.path, generation) == summary
    names = {tool for tool, _ in summary}
    assert {"skill", "read", "edit", "webfetch"} <= names
    demo.close()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_living_calls_go_pending_running_ended(tmp_path: Path, generation: Generation) -> None:
    """A reader sees calls on their way; none goes back; afterwards the tally agrees."""
    demo = Demo(tmp_path, generation=generation, history_days=0, pace=2, seed=3)
    demo.create()
    seen: dict[str, list[int]] = {}

    def look() -> bool:
        for key, status in rows(demo.path, STATES[generation]):
            steps = seen.setdefault(key, [])
            if not steps or steps[-1] != ORDER[status]:
                steps.append(ORDER[status])
        return len(seen) > 20 and any(steps[-2:] == [1, 2] for steps in seen.values())

    with living(demo):
        wait_for(look)
    assert all(steps == sorted(steps) for steps in seen.values())
    assert ended(demo.path, generation) == demo.issued.rows


def test_every_change_is_a_commit_of_its_own(tmp_path: Path) -> None:
    """A 1.x call is on disk as pending before it runs."""
    demo = Demo(tmp_path, generation="v1", history_days=0, pace=1, seed=5)
    demo.create()
    found: set[str] = set()

    def look() -> bool:
        found.update(status for _, status in rows(demo.path, STATES["v1"]))
        return {"pending", "running", "completed"} <= found

    with living(demo):
        wait_for(look)


@pytest.mark.slow
@pytest.mark.parametrize("generation", GENERATIONS)
def test_skill_that_always_loaded_no_longer_does_once_the_demo_lives(
    tmp_path: Path, generation: Generation
) -> None:
    """It is asked for three times in the first three minutes, here seconds, and never loads."""
    demo = Demo(tmp_path, generation=generation, history_days=1, pace=60, seed=2)
    demo.create()

    def loads() -> Counter[str]:
        return Counter(status for (status,) in rows(demo.path, LOADS[generation]))

    before = loads()
    assert before["completed"]
    assert not before["error"]
    with living(demo):
        wait_for(lambda: loads()["error"] >= 3)
    assert loads()["completed"] == before["completed"]


def test_stop_ends_it_at_once(tmp_path: Path) -> None:
    """The wait for the next change is cut short by the stop event."""
    demo = Demo(tmp_path, generation="v2", history_days=0, pace=0.001)
    demo.create()
    with living(demo) as stop:
        began = time.monotonic()
        stop.set()
    assert time.monotonic() - began < SOON_S


@pytest.mark.slow
def test_process_ends_when_its_input_does(tmp_path: Path) -> None:
    """The demo as a process dies with the one that started it, and leaves skills on disk."""
    words = ["--directory", str(tmp_path), "--history-days", "0.1"]
    with LineProcess([sys.executable, "-m", package.__name__, *words]) as agent:
        assert agent.answer().startswith("ready ")
        assert agent.process.stdin is not None
        agent.process.stdin.close()
        assert agent.wait() == 0
    skills = {path.parent.name for path in tmp_path.glob("config/opencode/skills/*/SKILL.md")}
    assert skills == {skill.name for skill in world.SKILLS + world.UNUSED_SKILLS}


@pytest.mark.slow
@pytest.mark.parametrize("is_told", [True, False])
def test_process_ends_while_it_writes_its_past(is_told: bool, tmp_path: Path) -> None:
    """Killed in the middle of a long history, the demo left its agent to fill the disk."""
    words = ["--directory", str(tmp_path), "--history-days", "9999"]
    with LineProcess([sys.executable, "-m", package.__name__, *words]) as agent:
        wait_for(lambda: [*tmp_path.glob("opencode.db*")])
        if is_told:
            agent.send(signal.SIGTERM)
        else:
            assert agent.process.stdin is not None
            agent.process.stdin.close()
        assert agent.wait() == 0


def test_same_seed_plans_the_same_work(tmp_path: Path) -> None:
    """Two demos with one seed end the same number of calls of each tool in their history."""
    totals = []
    for name in ("one", "two"):
        demo = Demo(tmp_path / name, generation="v1", history_days=0.5, seed=11)
        totals.append({tool for tool, _ in demo.create().rows})
        demo.close()
    assert totals[0] == totals[1]
