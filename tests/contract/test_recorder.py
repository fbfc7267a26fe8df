"""
The recordings are genuine: what the scripted model issued is in their databases.

The databases are asked by plain SQL, without the exporter, so a mistake there
cannot hide one here.
"""

import json
import lzma
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from contract.recorder import Dialect, Sandbox, scenes, wait_for
from harness.places import RECORDINGS, ROOT
from harness.real_tools import real_opencode

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))
STATUSES = {"completed", "error", "denied", "aborted", "abandoned"}
REASONS = {"not_found", "invalid_arguments", "edit_mismatch", "other"}
V1_CALLS = """
    SELECT session_id, json_extract(data, '$.callID'), json_extract(data, '$.state.time.start')
    FROM part WHERE json_extract(data, '$.type') = 'tool'
"""
V2_CALLS = """
    SELECT session_id, json_extract(value, '$.id'), json_extract(value, '$.time.created')
    FROM session_message, json_each(data, '$.content')
    WHERE session_message.type = 'assistant' AND json_extract(value, '$.type') = 'tool'
"""


def truth_of(name: str) -> dict[str, Any]:
    """Return what the model issued in a recording."""
    document: dict[str, Any] = json.loads((RECORDINGS / name / "truth.json").read_text())
    return document


@pytest.fixture
def source(name: str, tmp_path: Path) -> Iterator[apsw.Connection]:
    """Unpack a recording's database and open it."""
    for packed in (RECORDINGS / name).glob("*.xz"):
        (tmp_path / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    connection = apsw.Connection(str(tmp_path / "opencode.db"))
    yield connection
    connection.close()


def calls_in(source: apsw.Connection) -> list[tuple[str, str, int | None]]:
    """Return (session, call id, start) of every tool call in either generation."""
    tables = {name for (name,) in source.execute("SELECT name FROM sqlite_schema")}
    found: list[tuple[str, str, int | None]] = []
    for table, query in (("part", V1_CALLS), ("session_v2", V2_CALLS)):
        if table in tables:
            found += [(row[0], row[1], row[2]) for row in source.execute(query)]
    return found


def test_there_is_a_recording_of_every_kind() -> None:
    """Both generations, old and new versions, upgrades, and turns are on record."""
    assert NAMES == [
        "1.14.48",
        "1.17.11",
        "1.18.33",
        "1.2.27",
        "2.0.15",
        "turns-1.18.33",
        "turns-1.2.27",
        "turns-2.0.15",
        "turns-upgrade-1.18.33-2.0.15",
        "upgrade-1.18.33-2.0.15",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_truth_speaks_the_contract(name: str) -> None:
    """Every invocation carries a status of the contract, and a reason only with an error."""
    truth = truth_of(name)
    for entry in truth["invocations"] + truth["deleted"]:
        assert entry["status"] in STATUSES
        assert (entry["reason"] in REASONS) == (entry["status"] == "error")
        assert (entry["skill"] is not None) == (entry["canonical"] == "skill")
        assert ("open" in entry) == (entry["status"] == "abandoned")


@pytest.mark.parametrize("name", NAMES)
def test_recording_says_nothing_of_its_machine(name: str) -> None:
    """No file of a recording names the home or the folder of whoever made it."""
    for packed in (RECORDINGS / name).iterdir():
        content = packed.read_bytes()
        content = lzma.decompress(content) if packed.suffix == ".xz" else content
        assert not any(
            word in content for word in (b"%b/" % bytes(Path.home()), b"%b/" % bytes(ROOT))
        )


@pytest.mark.parametrize("name", NAMES)
def test_database_is_intact(name: str, source: apsw.Connection) -> None:
    """The files were kept as the last process left them: nothing is torn."""
    assert source.pragma("integrity_check") == "ok"


@pytest.mark.parametrize("name", NAMES)
def test_database_holds_what_the_model_issued(name: str, source: apsw.Connection) -> None:
    """Every call issued is there once, but for copies, and nothing else but the user's commands."""
    truth = truth_of(name)
    expected = Counter(entry["call_id"] for entry in truth["invocations"])
    # A copy has the start of its original, so that distinct (call id, start) are the events.
    events = {(call, start) for _, call, start in calls_in(source) if call in expected}
    started = Counter(call for call, _ in events)
    assert set(started) == set(expected)
    assert {key: n for key, n in started.items() if n != expected[key]} == {}


@pytest.mark.parametrize("name", NAMES)
def test_database_repeats_what_forks_and_the_upgrade_copied(
    name: str, source: apsw.Connection
) -> None:
    """There are as many rows too many as the script made copies."""
    truth = truth_of(name)
    issued = {entry["call_id"] for entry in truth["invocations"]}
    rows = [(call, start) for _, call, start in calls_in(source) if call in issued]
    assert len(rows) - len(set(rows)) == truth["copies"] + truth["imported"]


@pytest.mark.parametrize("name", NAMES)
def test_deleted_calls_are_gone(name: str, source: apsw.Connection) -> None:
    """Calls listed as deleted are in no session any more."""
    deleted = {entry["call_id"] for entry in truth_of(name)["deleted"]}
    assert deleted.isdisjoint(call for _, call, _ in calls_in(source))


@pytest.mark.real
@pytest.mark.parametrize("version", ["1.18.33", "2.0.15"])
def test_live_database_shows_a_running_call(version: str, tmp_path: Path) -> None:
    """A test can watch the database while a call runs, end it, and know the truth."""
    binary = real_opencode(version)
    with Sandbox(binary, tmp_path) as oc:
        running = oc.start(scenes.sleeping(Dialect(binary, oc.project), "nap", 2))
        wait_for((oc.project / "nap.started").exists)
        source = apsw.Connection(str(oc.database), flags=apsw.SQLITE_OPEN_READONLY)
        wait_for(lambda: [call for _, call, _ in calls_in(source)] == ["call_nap_0_0"])
        source.close()
        assert running.wait() == 0
        assert [issued.call.canonical for issued in oc.model.issued] == ["shell"]
