"""What OpenCode does behind four provider APIs is counted as the scripted provider sent it."""

from __future__ import annotations

import json
import lzma
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

from contract.oracle.comparing import differences
from contract.oracle.totals import expected
from contract.recorder.provider_recording import record_provider
from harness.clock import HOUR_MS
from harness.exporters import Bench, Exposed
from harness.places import RECORDINGS, ROOT
from harness.real_tools import real_opencode
from harness.recordings import truth, unpack
from opencode_exporter.decode.languages import language_of

NAMES = sorted(
    f"providers/{path.parent.name}" for path in RECORDINGS.glob("providers/*/truth.json")
)
SCENES = [(name, number) for name in NAMES for number in range(len(truth(name)["scenes"]))]
SESSION_TABLES = {
    "session": "id",
    "message": "session_id",
    "part": "session_id",
    "session_v2": "id",
    "session_message": "session_id",
}
"""Which column of a table names the session."""
pytestmark = pytest.mark.slow  # not each of them, but all the scenes together


@dataclass(frozen=True)
class Played:
    """
    One scene, alone in its database.

    Attributes:
        api: How the provider was spoken to.
        prompts: What the user asked, and what the provider sent then.
    """

    name: str
    api: str
    prompts: list[dict[str, Any]]
    page: Exposed

    def sent(self) -> list[dict[str, Any]]:
        """Return all answers."""
        return [answer for prompt in self.prompts for answer in prompt["sent"]]

    def calls(self) -> list[dict[str, Any]]:
        """Return all calls that were issued."""
        return [call for answer in self.sent() for call in answer["calls"]]

    def children(self) -> set[str]:
        """Return the scenes that sub-agents played."""
        own = {prompt["scene"] for prompt in self.prompts}
        return {answer["scene"] for answer in self.sent()} - own


def label(played: tuple[str, int]) -> str:
    """Name a scene of a recording."""
    name, number = played
    return f"{name.partition('/')[2]}-{truth(name)['scenes'][number]['name']}"


@pytest.fixture(params=SCENES, ids=label)
def played(request: pytest.FixtureRequest, bench: Bench) -> Played:
    """A scene cut out of its recording, read a day after it was made."""
    name, number = request.param
    document = truth(name)
    scene = document["scenes"][number]
    cut_out(unpack(name, bench.directory), scene["session"])
    bench.clock.ms = document["recorded_at_ms"] + 24 * HOUR_MS
    return Played(scene["name"], document["api"], scene["prompts"], bench.read_once())


def cut_out(path: Path, session: str) -> None:
    """Leave nothing in a database but a session and its sub-agents'."""
    database = apsw.Connection(str(path))
    tables = {str(name) for (name,) in database.execute("SELECT name FROM sqlite_schema")}
    family = {session}
    for table in tables & {"session", "session_v2"}:
        children = database.execute(f"SELECT id FROM {table} WHERE parent_id = ?", (session,))
        family |= {str(child) for (child,) in children}
    marks = ",".join("?" * len(family))
    for table in tables & SESSION_TABLES.keys():
        column = SESSION_TABLES[table]
        database.execute(f"DELETE FROM {table} WHERE {column} NOT IN ({marks})", [*family])
    database.close()


def test_every_recording_is_there() -> None:
    """Four APIs, both generations, and what an upgrade imports are recorded."""
    assert [name.partition("/")[2] for name in NAMES] == [
        "anthropic-1.17.18",
        "anthropic-1.18.34",
        "anthropic-2.0.15",
        "compat-1.17.18",
        "compat-1.18.34",
        "compat-2.0.15",
        "google-1.18.34",
        "google-2.0.15",
        "openai-1.18.34",
        "openai-2.0.15",
        "upgrade-anthropic-1.18.34-2.0.15",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_recording_says_nothing_of_its_machine(name: str) -> None:
    """No file of a recording names the home or the folder of whoever made it."""
    for packed in (RECORDINGS / name).iterdir():
        content = packed.read_bytes()
        content = lzma.decompress(content) if packed.suffix == ".xz" else content
        for folder in (Path.home(), ROOT):
            assert b"%b/" % bytes(folder) not in content


def test_every_call_is_counted_as_it_ended(played: Played) -> None:
    """Each call that the provider issued, its own among them, counts once with its end."""
    issued = Counter((call["tool"], call["status"]) for call in played.calls())
    assert played.page.by("opencode_tool_invocations_total", "tool", "status") == issued


def test_every_skill_load_is_counted(played: Played) -> None:
    """Each load counts under the skill that was asked for."""
    loads = Counter((call["skill"],) for call in played.calls() if call["skill"])
    assert played.page.by("opencode_skill_invocations_total", "skill") == loads


def test_tokens_are_those_that_were_sent(played: Played) -> None:
    """Each answer that was whole, and that OpenCode kept, counts with its tokens by type."""
    sent: Counter[tuple[str, ...]] = Counter()
    for answer in played.sent():
        sent.update({(kind,): count for kind, count in (answer["tokens"] or {}).items()})
    assert played.page.by("opencode_tokens_total", "token_type") == +sent


def test_each_prompt_is_one_turn(played: Played) -> None:
    """A human message is a turn, so are a sub-agent's, and what its end in the background asks."""
    outcomes = Counter((prompt["outcome"],) for prompt in played.prompts)
    woken = sum(prompt["woken"] for prompt in played.prompts)
    outcomes["succeeded",] += len(played.children()) + woken
    assert played.page.by("opencode_turns_total", "outcome") == +outcomes


def test_every_row_can_be_read(played: Played) -> None:
    """Nothing of a real OpenCode is set aside."""
    assert played.page.total("opencode_exporter_rows_rejected_total") == 0


def test_nothing_is_left_open(played: Played) -> None:
    """A day later no call is in flight."""
    assert played.page.total("opencode_tool_in_flight") == 0


@pytest.mark.real
def test_a_recording_can_be_made_anew(tmp_path: Path) -> None:
    """The same scenes send the same again, but for sessions and times."""
    record_provider(real_opencode("2.0.15"), "compat", tmp_path / "again")
    again = json.loads((tmp_path / "again" / "truth.json").read_text("utf-8"))
    assert answers(again) == answers(truth("providers/compat-2.0.15"))


def answers(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return what was sent by prompt, but for those that somebody interrupted sooner or later."""
    prompts = [prompt for scene in document["scenes"] for prompt in scene["prompts"]]
    return {  # a sub-agent in the background asks between the others
        prompt["scene"]: sorted(prompt["sent"], key=lambda answer: str(answer["scene"]))
        for prompt in prompts
        if prompt["outcome"] != "interrupted"
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_page_agrees_with_the_independent_computation(name: str, bench: Bench) -> None:
    """Sessions, turns, steps, runs, tokens, cost, edits: the whole recording at once."""
    path = unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    page = bench.read_once()
    wanted = expected(path, of=language_of)
    del wanted["opencode_todos"]  # of sessions that are active, and none is a day later
    assert list(differences(wanted, page)) == []


@pytest.mark.parametrize("played", SCENES, indirect=True, ids=label)
def test_a_scene_agrees_with_the_independent_computation(played: Played, bench: Bench) -> None:
    """The same for each scene alone, where no other makes up for it."""
    wanted = expected(bench.source, of=language_of)
    del wanted["opencode_todos"]
    assert list(differences(wanted, played.page)) == []
