"""On every recording the independent computation agrees with the truth, and with plain sums."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import apsw
import pytest

from contract.oracle.edits import language
from contract.oracle.reading import read
from contract.oracle.runs import skill_runs
from contract.oracle.totals import expected
from contract.oracle.turns import turns
from harness.places import RECORDINGS
from harness.recordings import truth, unpack

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))
PLAYED = [name for name in NAMES if "turns" in truth(name)]
"""Recordings whose truth tells turns."""


@pytest.mark.parametrize("name", NAMES)
def test_recordings_hold_what_the_model_issued(name: str, tmp_path: Path) -> None:
    """Every call that is read has the tool and status of the truth, and no copy is left."""
    issued: Counter[tuple[str, str]] = Counter()
    for call in truth(name)["invocations"]:
        inner = [(one["tool"], one["status"]) for one in call.get("inner", [])]
        issued.update([(call["canonical"], call["status"]), *inner])
    sessions = read(unpack(name, tmp_path))
    assert issued == Counter(
        one for session in sessions for call in session.calls for one in call.counted
    )


@pytest.mark.parametrize("name", NAMES)
def test_steps_of_recordings_belong_to_one_turn_and_one_run_at_most(
    name: str, tmp_path: Path
) -> None:
    """Every step but a summary is in exactly one turn; every load opens exactly one run."""
    sessions = read(unpack(name, tmp_path))
    every = [turn for session in sessions for turn in turns(session)]
    steps = Counter(step.message for turn in every for step in turn.steps)
    own = (step for session in sessions for step in session.steps if not step.summary)
    assert steps == Counter(step.message for step in own)
    runs = skill_runs(every).runs
    assert max(Counter(step.message for run in runs for step in run.steps).values()) == 1
    loads = [call for session in sessions for call in session.calls if call.loads]
    by_user = truth(name)["user_skills"]
    assert len(runs) == len(loads) + len(by_user)


@pytest.mark.parametrize("name", NAMES)
def test_sums_of_recordings_equal_plain_ones(name: str, tmp_path: Path) -> None:
    """Tokens and cost are those of all steps of both generations that are no copies."""
    path = unpack(name, tmp_path)
    kept = {row.message for one in read(path) for row in one.rows}
    db = apsw.Connection(str(path))
    tables = {table for (table,) in db.execute("SELECT name FROM sqlite_master")}
    used: dict[str, tuple[int, float]] = {}
    queries = []
    if "session_v2" in tables:
        paid = "type IN ('assistant', 'compaction')"
        queries.append(f"SELECT id, data FROM session_message WHERE {paid}")
    if "part" in tables:
        step_finish = "data ->> '$.type' = 'step-finish'"
        queries.append(f"SELECT message_id, data FROM part WHERE {step_finish}")
    for query in queries:
        fields = "coalesce(data ->> '$.tokens.input', 0), coalesce(data ->> '$.cost', 0)"
        sql = query.replace("data FROM", f"{fields} FROM", 1)
        used |= {message: (tokens, cost) for message, tokens, cost in db.execute(sql)}
    db.close()
    found = expected(path)
    inputs = [count for key, count in found["opencode_tokens_total"].items() if key[2] == "input"]
    assert sum(inputs) == sum(used[message][0] for message in kept & used.keys())
    cost = sum(found["opencode_cost_usd_total"].values())
    assert cost == pytest.approx(sum(used[message][1] for message in kept & used.keys()))


@pytest.mark.parametrize("name", PLAYED)
def test_turns_of_recordings_end_as_they_were_played(name: str, tmp_path: Path) -> None:
    """Each turn has the outcome, the agent and as many steps as the truth says."""
    played: Counter[tuple[str, str, str, int]] = Counter()
    for turn in truth(name)["turns"]:
        if not turn["deleted"]:
            where = turn["session"] or "child"
            played[where, turn["outcome"], turn["agent"], len(turn["steps"])] += 1
    found: Counter[tuple[str, str, str, int]] = Counter()
    for session in read(unpack(name, tmp_path)):
        where = "child" if session.parent else session.id
        found.update((where, turn.outcome, turn.agent, len(turn.steps)) for turn in turns(session))
    assert found == played


@pytest.mark.parametrize("name", PLAYED)
def test_files_of_recordings_are_those_that_were_changed(name: str, tmp_path: Path) -> None:
    """Operations and lines are those of the truth, by the endings of its paths."""
    operations: Counter[tuple[str, str]] = Counter()
    lines: Counter[tuple[str, str]] = Counter()
    calls = (
        call
        for turn in truth(name)["turns"]
        for step in turn["steps"]
        for call in step["calls"]
        if not turn["deleted"]
    )
    for file in (file for call in calls for file in call["files"]):
        kind = language(file["path"])
        operations[file["operation"], kind] += 1
        lines["added", kind] += file["added"] or 0
        lines["removed", kind] += file["removed"] or 0
    found = expected(unpack(name, tmp_path))
    done = found["opencode_file_operations_total"].items()
    # The truth does not tell the files of every read.
    changed = {key: count for key, count in done if key[0] != "read"}
    assert changed == {key: count for key, count in operations.items() if key[0] != "read"}
    assert found["opencode_edit_lines_total"] == +lines


@pytest.mark.parametrize("name", PLAYED)
def test_sessions_of_recordings_are_those_that_are_left(name: str, tmp_path: Path) -> None:
    """Roots and forks are counted by kind, an orphaned fork as a fork."""
    kinds = Counter(one["kind"] for one in truth(name)["sessions"] if not one["deleted"])
    found = expected(unpack(name, tmp_path))["opencode_sessions_total"]
    assert kinds == {kind: count for (kind, _), count in found.items() if kind != "subagent"}


@pytest.mark.parametrize("name", PLAYED)
def test_recordings_took_the_tokens_and_dollars_that_the_provider_counted(
    name: str, tmp_path: Path
) -> None:
    """Tokens by model and the dollars agree with what the scripted provider had answered."""
    tokens: Counter[tuple[str, str, str]] = Counter()
    dollars = 0.0
    steps = [step for turn in truth(name)["turns"] if not turn["deleted"] for step in turn["steps"]]
    for answer in [*steps, *truth(name)["compactions"]]:
        model = answer["provider"], answer["model"]
        tokens.update({(*model, kind): used for kind, used in (answer["tokens"] or {}).items()})
        dollars += answer["cost"] or 0.0
    found = expected(unpack(name, tmp_path))
    assert found["opencode_tokens_total"] == +tokens
    assert sum(found["opencode_cost_usd_total"].values()) == pytest.approx(dollars)
