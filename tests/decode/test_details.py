"""What calls are about and did to files is what the independent computation says."""

from __future__ import annotations

import json
import lzma
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.oracle import edits, reading, runs
from contract.oracle.model import Call, Row, Session
from harness.places import RECORDINGS
from opencode_exporter.catalog.vocabulary import CATEGORIES
from opencode_exporter.decode.languages import language_of
from opencode_exporter.decode.opencode.call_json import (
    Asked,
    Recorded,
    asked_raw,
    parse_asked,
    recorded_fields,
)
from opencode_exporter.decode.opencode.targets import file_changes, targets
from opencode_exporter.events import FileChange
from opencode_exporter.events import Session as Where

NAMES: Final = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))
TOOLS: Final = st.sampled_from([*sorted(CATEGORIES), "demo_echo"])
HERE: Final = "/home/ann/project"

ODD: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PATHS: Final = st.sampled_from(
    [
        "a.py",
        "./a.py",
        "b/../a.py",
        f"{HERE}/a.py",
        "docs/b.md",
        f"{HERE}/docs/b.md",
        "c",
        "",
        "../c",
    ]
)
LINES: Final = st.integers(0, 9)


@st.composite
def patches(draw: st.DrawFn) -> str:
    """Make the text of a patch."""
    heads = ("Add File: ", "Update File: ", "Delete File: ", "Move to: ", "End of ")
    lines = st.tuples(st.sampled_from(heads), PATHS).map(lambda one: f"*** {one[0]}{one[1]}")
    drawn = draw(st.lists(lines | st.sampled_from(["+x", " y", "-*** Add File: z"]), max_size=6))
    return "\n".join(drawn)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Make an object that has any of these fields."""
    return st.fixed_dictionaries({}, optional=dict(fields))


WORDS: Final = st.sampled_from(["add", "modified", "renamed", "deleted", "paused", ""])
CHANGED: Final = some(
    movePath=st.none() | PATHS,
    filePath=PATHS,
    file=PATHS,
    relativePath=PATHS,
    type=WORDS,
    status=WORDS,
    additions=LINES,
    deletions=LINES,
)
GIVEN: Final = some(
    filePath=PATHS,
    path=PATHS,
    patchText=patches(),
    command=st.sampled_from(["ls", "make"]),
    url=st.sampled_from(["http://a", "http://b"]),
    name=st.sampled_from(["review", ""]),
    id=st.sampled_from(["review", "deploy"]),
)
META: Final = some(
    exit=st.none() | st.integers(0, 2), exists=st.booleans(), files=st.lists(CHANGED, max_size=3)
)
CALLS: Final = st.tuples(TOOLS, GIVEN, META, st.sampled_from(["Created a", "done"]))


def encoded(value: object) -> msgspec.Raw:
    """Return JSON as a row holds it."""
    return msgspec.Raw(json.dumps(value).encode())


def typed(meta: dict[str, Any]) -> Recorded:
    """Return metadata as a typed decoder has it; half an emoji in an output would spoil it."""
    read = {key: meta[key] for key in Recorded.__struct_fields__ if key in meta}
    return msgspec.json.decode(json.dumps(read), type=Recorded)


NOWHERE = Where("ses_1", "proj", 1, directory=HERE)
IN_A_TREE = Where("ses_1", "proj", 1, directory="/tree/sub", worktree="/tree")


def about(call: Call, directory: str = HERE) -> tuple[int, ...]:
    """Return the hashes of what a call is about."""
    asked, recorded = parse_asked(encoded(call.given)), typed(call.meta)
    return targets(call.tool, asked, recorded, directory)


def changes(call: Call, session: Where = NOWHERE) -> tuple[FileChange, ...]:
    """Return what a call did to files."""
    asked, recorded = parse_asked(encoded(call.given)), typed(call.meta)
    return file_changes(call.tool, call.status, asked, recorded, call.text, session)


def counted(found: tuple[FileChange, ...]) -> tuple[Counter[Any], Counter[Any]]:
    """Return operations and lines as the independent computation counts them."""
    lines: Counter[Any] = Counter()
    for change in found:
        lines["added", change.language] += change.added
        lines["removed", change.language] += change.removed
    return Counter((change.operation, change.language) for change in found), +lines


def independently(call: Call) -> tuple[Counter[Any], Counter[Any]]:
    """Return operations and lines of one call."""
    row = Row("step", "msg", 1, 1, "v2", calls=[call])
    session = Session("ses", 1, "project", HERE, rows=[row])
    return edits.operations(session, language_of), edits.lines(session, language_of)


def made(tool: str, asked: dict[str, Any], meta: dict[str, Any], text: str) -> Call:
    """Return a call that completed."""
    return Call("ses", "msg", "call", tool, "completed", given=asked, meta=meta, text=text)


def recorded_calls(name: str, into: Path) -> Iterator[tuple[Call, str]]:
    """Yield the calls of a recording, with the directories of their sessions."""
    for packed in (RECORDINGS / name).glob("*.xz"):
        (into / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    for session in reading.read(into / "opencode.db"):
        for call in session.calls:
            yield call, session.directory


def assert_same_partition(pairs: list[tuple[tuple[int, ...], tuple[str, ...]]]) -> None:
    """Equal texts have equal hashes, and different ones have different hashes."""
    assert all(len(hashes) == len(names) for hashes, names in pairs)
    one = {pair for hashes, names in pairs for pair in zip(hashes, names, strict=True)}
    assert len(one) == len({number for number, _ in one}) == len({name for _, name in one})
    assert all(0 <= number < 1 << 63 for number, _ in one)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_calls_are_about_what_they_name_and_change_what_they_say(
    name: str, tmp_path: Path
) -> None:
    """On real calls of both generations both computations agree."""
    pairs = []
    for call, directory in recorded_calls(name, tmp_path):
        pairs.append((about(call, directory), runs.targets(call, directory)))
        assert counted(changes(call)) == independently(call)
    assert any(names for _, names in pairs)
    assert_same_partition(pairs)


@pytest.mark.slow
@given(st.lists(CALLS, min_size=1, max_size=6))
def test_targets_are_equal_where_the_texts_are(given_calls: list[tuple[Any, ...]]) -> None:
    """Whatever way a path is written in, one file has one hash; other tools have none."""
    calls = [made(*one) for one in given_calls]
    assert_same_partition([(about(call), runs.targets(call, HERE)) for call in calls])


@given(CALLS)
def test_patches_reads_and_writes_change_the_files_that_they_record(one: tuple[Any, ...]) -> None:
    """Operations and lines of generated calls are those of the independent computation."""
    call = made(*one)
    if call.tool in {"edit", "multiedit", "write"}:
        of_the_file_asked_for(call.given, call.meta.get("files", ()))
    assert counted(changes(call)) == independently(call)


def of_the_file_asked_for(asked: dict[str, Any], diffs: Iterable[dict[str, Any]]) -> None:
    """Let diffs be of the file that was asked for, as those of these tools are."""
    path = asked.get("filePath") or asked.get("path") or ""
    for diff in diffs:
        diff.update(dict.fromkeys(("movePath", "file", "filePath", "relativePath"), path))


@given(TOOLS, GIVEN, CHANGED, st.lists(CHANGED, max_size=2))
def test_edits_of_both_generations_add_up(
    tool: str, asked: dict[str, Any], diff: dict[str, Any], more: list[dict[str, Any]]
) -> None:
    """1.x's ``filediff`` and the results of ``multiedit`` count like the files of 2.x."""
    if tool == "write":
        of_the_file_asked_for(asked, [diff, *more])
    meta = {"filediff": diff, "results": [{"filediff": one} for one in more]}
    operations, lines = counted(changes(made(tool, asked, meta, "")))
    theirs = independently(made(tool, asked, meta, ""))
    assert operations == theirs[0]
    # Of an edit all lines are of the file that was asked for, whatever the diff calls it.
    assert [lines.total(), tool] == [theirs[1].total(), tool]


@pytest.mark.slow
@given(TOOLS, ODD, ODD | st.dictionaries(st.sampled_from(Recorded.__struct_fields__), ODD), ODD)
def test_odd_calls_say_nothing_and_never_fail(tool: str, asked: Any, meta: Any, value: Any) -> None:
    """Values of any type, in any place, are as if they were not there."""
    odd = dict.fromkeys(Asked.__struct_fields__, value)
    for given_now in (asked, odd):
        known = parse_asked(encoded(given_now))
        for recorded in (Recorded(**recorded_fields(meta)), Recorded(**recorded_fields(odd))):
            for number in targets(tool, known, recorded, HERE):
                assert 0 <= number < 1 << 63
            for change in file_changes(tool, "completed", known, recorded, "", IN_A_TREE):
                assert change.added >= 0
                assert change.removed >= 0


@given(CALLS)
def test_rows_that_are_read_leniently_say_the_same(one: tuple[Any, ...]) -> None:
    """What a typed decoder takes and what the lenient reading makes of it are equal."""
    tool, asked, meta, text = one
    known = parse_asked(asked_raw(asked)), Recorded(**recorded_fields(meta))
    call = made(*one)
    assert targets(tool, *known, HERE) == about(call)
    assert file_changes(tool, "completed", *known, text, NOWHERE) == changes(call)


def test_half_an_emoji_spoils_no_input() -> None:
    """A lone surrogate in one text leaves the others readable, and itself encodable."""
    asked = parse_asked(msgspec.Raw(b'{"command": "ls \\ud83d", "path": "a.py", "name": 5}'))
    assert (asked.command, asked.path, asked.name) == ("ls ?", "a.py", None)
    assert targets("shell", asked, Recorded(), HERE)


@pytest.mark.parametrize("raw", [msgspec.UNSET, msgspec.Raw(b'"{\\"pa"'), msgspec.Raw(b"[1]")])
def test_arguments_that_are_no_object_say_nothing(raw: object) -> None:
    """Missing arguments, and those that still stream, ask for nothing."""
    assert parse_asked(raw) == Asked()


def test_paths_are_kept_only_where_they_are_asked_for() -> None:
    """No path leaves the decoder unless somebody opted in."""
    call = made("edit", {"filePath": "src/b.py"}, {}, "")
    assert [one.path for one in changes(call)] == [""]
    assert [one.path for one in changes(call, IN_A_TREE)] == ["sub/src/b.py"]


def test_files_outside_of_the_worktree_keep_no_path() -> None:
    """Only what lies in a project is shown, from its root on."""
    call = made("edit", {"filePath": "/home/me/secret.py"}, {}, "")
    assert [one.path for one in changes(call, IN_A_TREE)] == [""]


@pytest.mark.parametrize("status", [None, "error", "denied", "aborted", "abandoned"])
def test_calls_that_did_not_complete_change_no_file(status: str | None) -> None:
    """Only a completed call did anything to a file."""
    asked = parse_asked(encoded({"filePath": "/a/b.py"}))
    assert file_changes("write", status, asked, Recorded(), "Created", NOWHERE) == ()
