"""
The recordings about turns hold every scene that they promise.

As in `test_recorder` the databases are asked by plain SQL, without the
exporter, and compared with what the scripted provider was asked and answered.
"""

import json
import lzma
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from contract.recorder.turn_recording import record_turns
from harness.places import RECORDINGS
from harness.real_tools import real_opencode

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("turns-*/truth.json"))
OUTCOMES = {"succeeded", "failed", "interrupted", "abandoned"}
FINISH = {"tool_calls": "tool-calls", "content_filter": "content-filter"}
V1_STEPS = """
    SELECT message.id, message.data, part.data ->> '$.reason', part.data ->> '$.tokens',
           part.data ->> '$.cost'
    FROM part JOIN message ON message.id = part.message_id
    WHERE part.data ->> '$.type' = 'step-finish'
"""
V2_STEPS = """
    SELECT id, data, data ->> '$.rawFinish', data ->> '$.tokens', data ->> '$.cost'
    FROM session_message WHERE type = 'assistant' AND data ->> '$.tokens' IS NOT NULL
    AND data ->> '$.finish' IS NOT NULL
"""
V1_CALLS = "SELECT data FROM part WHERE data ->> '$.type' = 'tool'"
V2_CALLS = """
    SELECT value FROM session_message, json_each(data, '$.content')
    WHERE session_message.type = 'assistant' AND value ->> '$.type' = 'tool'
"""
V1_PROMPTS = """
    SELECT message.session_id, part.data ->> '$.text', message.id
    FROM part JOIN message ON message.id = part.message_id
    WHERE message.data ->> '$.role' = 'user' AND part.data ->> '$.type' = 'text'
    AND part.data ->> '$.synthetic' IS NULL
"""
V2_PROMPTS = "SELECT session_id, data ->> '$.text', id FROM session_message WHERE type = 'user'"


@dataclass
class Source:
    """A recording's truth and its database."""

    truth: dict[str, Any]
    database: apsw.Connection
    tables: set[str] = field(default_factory=set)

    def both(self, v1: str, v2: str) -> list[tuple[Any, ...]]:
        """Return the rows of two queries, of each generation that is there."""
        found = list(self.database.execute(v1)) if "part" in self.tables else []
        return found + (list(self.database.execute(v2)) if "session_v2" in self.tables else [])

    def turns(self, **facts: object) -> list[dict[str, Any]]:
        """Return the turns that are not deleted and have some facts."""
        alive = [turn for turn in self.truth["turns"] if not turn["deleted"]]
        return [turn for turn in alive if all(turn[key] == facts[key] for key in facts)]

    def calls(self) -> list[dict[str, Any]]:
        """Return every call of these turns."""
        return [call for turn in self.turns() for step in turn["steps"] for call in step["calls"]]

    def rows(self, query: str) -> list[Any]:
        """Return the first column of a query."""
        return [row[0] for row in self.database.execute(query)]


@pytest.fixture(params=NAMES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    """Unpack a recording and open its database."""
    folder = RECORDINGS / str(request.param)
    for packed in folder.glob("*.xz"):
        (tmp_path / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    database = apsw.Connection(str(tmp_path / "opencode.db"))
    tables = {str(name) for (name,) in database.execute("SELECT name FROM sqlite_schema")}
    yield Source(json.loads((folder / "truth.json").read_text()), database, tables)
    database.close()


def by_type(tokens: dict[str, Any]) -> tuple[int, ...]:
    """Return a row's tokens in the order of the contract."""
    cache = tokens["cache"]
    return (
        tokens["input"],
        tokens["output"],
        tokens["reasoning"],
        cache["read"],
        cache["write"],
    )


def recorded_steps(source: Source) -> Counter[tuple[Any, ...]]:
    """Return the steps in the database, each once: copies have their original's moment."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for _, data, reason, tokens, cost in source.both(V1_STEPS, V2_STEPS):
        message = json.loads(data)
        model = message.get("model") or {}
        provider = model.get("providerID") or message["providerID"]
        name = model.get("id") or message["modelID"]
        used = by_type(json.loads(tokens))
        finish = reason or message["finish"]
        moment = (message["time"]["created"], message["agent"], used)
        found[moment] = (provider, name, FINISH.get(finish, finish), used, round(cost, 9))
    return Counter(found.values())


def test_tokens_and_cost_are_those_of_the_provider(source: Source) -> None:
    """Each step that the provider answered is there with its model, end, tokens and cost."""
    told = [step for turn in source.turns() for step in turn["steps"] if step["tokens"]]
    expected = Counter(
        (
            step["provider"],
            step["model"],
            FINISH.get(step["finish"], step["finish"]),
            tuple(step["tokens"].values()),
            round(step["cost"], 9),
        )
        for step in told
    )
    if "part" in source.tables:  # 1.x keeps a summary as a step
        for one in source.truth["compactions"]:
            key = (one["provider"], one["model"], "stop")
            expected[(*key, tuple(one["tokens"].values()), round(one["cost"], 9))] += 1
    assert recorded_steps(source) == expected


def test_each_turn_has_its_prompt(source: Source) -> None:
    """Every prompt is in its session, and none is there that the truth does not know."""
    prompts = source.both(V1_PROMPTS, V2_PROMPTS)
    for turn in source.turns():
        marker = f"[[{turn['scene']}]]"
        sessions = {session for session, text, _ in prompts if marker in text}
        assert turn["session"] in sessions if turn["session"] else len(sessions) == 1
        assert turn["outcome"] in OUTCOMES
        assert turn["session"] or (turn["via"] and turn["parent"])
    known = {f"[[{turn['scene']}]]" for turn in source.turns()}
    assert all(any(marker in text for marker in known) for _, text, _ in prompts)


def test_commands_exit_and_files_change_as_issued(source: Source) -> None:
    """Exit statuses and recorded diff counts are those that the script provokes."""
    rows = {}
    for (data,) in source.both(V1_CALLS, V2_CALLS):
        call = json.loads(data)
        # With one id for several calls, and before or after an import, all say the same.
        rows[call.get("callID") or call["id"]] = call["state"]
    for call in source.calls():
        metadata = rows[call["call_id"]].get("metadata") or {}
        if call["exit"] is not None:
            assert metadata["exit"] == call["exit"]
        diffs = metadata.get("files") or [metadata.get("filediff")]
        for change, diff in zip(call["files"], diffs, strict=False):
            if change["added"] is not None:
                assert (diff["additions"], diff["deletions"]) == (
                    change["added"],
                    change["removed"],
                )


def test_compactions_are_there(source: Source) -> None:
    """Automatic and manual compactions are recorded in the words of each generation."""
    expected = Counter(one["mode"] for one in source.truth["compactions"])
    v1 = """SELECT iif(data ->> '$.auto', 'auto', 'manual')
            FROM part WHERE data ->> '$.type' = 'compaction'"""
    v2 = "SELECT data ->> '$.reason' FROM session_message WHERE type = 'compaction'"
    assert Counter(mode for (mode,) in source.both(v1, v2)) == expected
    if "part" not in source.tables:
        query = "SELECT data ->> '$.tokens' FROM session_message WHERE type = 'compaction'"
        told = [tuple(one["tokens"].values()) for one in source.truth["compactions"]]
        assert sorted(told) == sorted(by_type(json.loads(row)) for row in source.rows(query))
    assert len(source.tables & {"part", "session_v2"}) == 2 or set(expected) == {"auto", "manual"}


def test_subagents_work_two_levels_deep(source: Source) -> None:
    """A sub-agent's sub-agent has a session whose parent has a parent."""
    levels = {turn["scene"]: turn["via"] for turn in source.turns()}
    assert levels["nested"] is None
    assert levels["nested-1"] == "call_nested_1_0"
    assert levels["nested-2"] == "call_nested-1_1_0"
    query = """SELECT count(*) FROM {0} AS low JOIN {0} AS middle ON middle.id = low.parent_id
               WHERE middle.parent_id IS NOT NULL"""
    for table in source.tables & {"session", "session_v2"}:
        assert source.rows(query.format(table)) == [1]


def test_all_outcomes_and_refusals_are_on_record(source: Source) -> None:
    """Every outcome of the contract occurs, and steps that succeeded after refusals."""
    assert {turn["outcome"] for turn in source.turns()} == OUTCOMES
    if len(source.tables & {"part", "session_v2"}) < 2:
        refusals = [step["refusals"] for turn in source.turns() for step in turn["steps"]]
        assert [429, 503] in refusals


def said_by_v2(turn: dict[str, Any]) -> list[str]:
    """Return what 2.x says of a turn; an answer that is cut off by its length is fine with it."""
    if turn["steps"] and turn["steps"][-1]["finish"] == "length":
        return ["succeeded"]
    return [] if turn["outcome"] == "abandoned" else [turn["outcome"]]


def test_idle_rows_say_the_outcome(source: Source) -> None:
    """2.x writes how a turn ended, unless its process died."""
    if "session_v2" not in source.tables:
        assert "idle" not in source.tables
        return
    query = """SELECT row.data ->> '$.outcome' FROM session_message AS row
               WHERE row.type = 'idle' AND row.session_id = ? AND row.seq > (
                   SELECT seq FROM session_message WHERE session_id = row.session_id
                   AND type = 'user' AND instr(data, ?)) ORDER BY row.seq LIMIT 1"""
    for turn in source.turns():
        if turn["version"].startswith("2.") and turn["session"]:
            marker = (turn["session"], f"[[{turn['scene']}]]")
            found = [outcome for (outcome,) in source.database.execute(query, marker)]
            assert found == said_by_v2(turn)


def test_archived_sessions_and_todos_are_there(source: Source) -> None:
    """1.x stamps the archived session and keeps todos in a table."""
    archived = {session["id"] for session in source.truth["sessions"] if session["archived"]}
    if "session" in source.tables:
        query = "SELECT id FROM session WHERE time_archived IS NOT NULL"
        assert set(source.rows(query)) == archived
        todos = source.rows("SELECT count(*) FROM todo WHERE status = 'pending'")
        assert todos == [2 * bool(source.turns(scene="todos"))]


def story(truth: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what happened, without sessions and without how often a provider was tried."""
    return [
        (
            turn["scene"],
            turn["outcome"],
            turn["agent"],
            step["finish"],
            step["usage"],
            step["calls"],
        )
        for turn in truth["turns"]
        for step in turn["steps"]
    ]


@pytest.mark.real
@pytest.mark.timeout(900)  # a real OpenCode does all of it once more
def test_recorder_records_the_same_turns_again(tmp_path: Path) -> None:
    """A recording from scratch tells the same story as the one that is kept."""
    record_turns(real_opencode("2.0.15"), tmp_path / "again")
    again = json.loads((tmp_path / "again" / "truth.json").read_text())
    kept = json.loads((RECORDINGS / "turns-2.0.15" / "truth.json").read_text())
    assert sorted(story(again), key=str) == sorted(story(kept), key=str)  # some go on side by side
    assert (again["copies"], again["imported"]) == (kept["copies"], kept["imported"])
