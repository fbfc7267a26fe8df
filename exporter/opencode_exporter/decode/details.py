"""
Details of a call: what it was asked and what it recorded, as both generations have it.

Pure.  Says which files, URL, skill or command a call is about, as hashes, and what
it did to files.  What a model or an old version wrote may have any type: that is as
if it were not there, and nothing here raises.  Does not know where calls come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from posixpath import join, normpath
from typing import Any, Final, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from opencode_exporter.classify import CATEGORIES
from opencode_exporter.decode.languages import language_of
from opencode_exporter.decode.values import REFUSED, Unusable, loads, mapping, text_or, whole
from opencode_exporter.events import COMPLETED, LONGEST_PATH, FileChange, Session

Unread = msgspec.Raw | msgspec.UnsetType
"""JSON that is skipped, and read where somebody asks for it."""


class Asked(msgspec.Struct, gc=False):
    """A call's input, as far as it is asked for."""

    filePath: Any = None  # noqa: N815  # OpenCode's name, as those below
    path: Any = None
    patchText: Any = None  # noqa: N815
    command: Any = None
    url: Any = None
    name: Any = None
    id: Any = None
    tool: Any = None
    error: Any = None


class Recorded(msgspec.Struct, gc=False):
    """A call's metadata, as far as it is asked for."""

    exit: Any = None
    exists: Any = None
    sessionId: Any = None  # noqa: N815
    sessionID: Any = None  # noqa: N815
    name: Any = None
    truncated: Any = None
    timeout: Any = None
    interrupted: Any = None
    files: Unread = msgspec.UNSET
    filediff: Unread = msgspec.UNSET
    results: Unread = msgspec.UNSET


class _Diff(msgspec.Struct, gc=False):
    movePath: Any = None  # noqa: N815
    filePath: Any = None  # noqa: N815
    file: Any = None
    relativePath: Any = None  # noqa: N815
    type: Any = None
    status: Any = None
    additions: Any = None
    deletions: Any = None


_NOTHING: Final = _Diff()
DIFF_FIELDS: Final = _Diff.__struct_fields__
"""What is asked of what happened to a file."""


class _Result(msgspec.Struct, gc=False):
    filediff: _Diff | None = None


_asked = msgspec.json.Decoder(Asked).decode
_diffs = msgspec.json.Decoder(list[_Diff]).decode
_diff = msgspec.json.Decoder(_Diff).decode
_results = msgspec.json.Decoder(list[_Result]).decode


def parse_asked(raw: object) -> Asked:
    """Return what an input says; arguments that still stream are text, and say nothing."""
    if not isinstance(raw, msgspec.Raw):
        return Asked()
    try:
        return _asked(raw)
    except REFUSED:
        return Asked(**asked_fields(_leniently(raw)))


def asked_fields(given: object) -> dict[str, Any]:
    """Return the texts of an input that are read, without lone surrogates."""
    found = mapping(given)
    names = Asked.__struct_fields__
    return {key: whole(found[key]) for key in names if isinstance(found.get(key), str)}


def asked_raw(given: object) -> msgspec.Raw:
    """Return an input as `parse_asked` takes it, of a row that was read leniently."""
    return msgspec.Raw(msgspec.json.encode(asked_fields(given)))


def recorded_fields(given: object) -> dict[str, Any]:
    """Return the fields of `Recorded`, of a row that was read leniently."""
    found = mapping(given)
    fields = {key: whole(found[key]) for key in Recorded.__struct_fields__ if key in found}
    for key in ("files", "filediff", "results"):
        if key in fields:
            fields[key] = _unread(fields[key])
    return fields


def _unread(value: Any) -> Unread:
    try:
        return msgspec.Raw(json.dumps(value).encode())
    except (ValueError, RecursionError):
        return msgspec.UNSET


def _leniently(raw: msgspec.Raw) -> Any:
    try:
        return loads(bytes(raw))
    except Unusable:
        return None


_TOO_MANY: Final = 1 << 40


def amount(value: object) -> int:
    """Return a number that counts something, 0 for what cannot be one."""
    return value if type(value) is int and 0 <= value < _TOO_MANY else 0


def targets(tool: str, asked: Asked, recorded: Recorded, directory: str) -> tuple[int, ...]:
    """
    Return what a call is about: hashes of its files, its skill, URL or command.

    Args:
        tool: The canonical name; most tools are about nothing.
        asked: Its input.
        recorded: Its metadata.
        directory: What relative paths begin at.
    """
    named: tuple[str, ...]
    category = CATEGORIES.get(tool)
    if tool == "patch":
        files = _named_in_patch(asked) or tuple(_recorded_names(recorded))
        named = tuple(sorted(normpath(join(directory, name)) for name in files))
    elif category in {"read", "edit"}:
        path = _path(asked)
        named = (normpath(join(directory, path)),) if path else ()
    elif category == "skill":
        named = (text_or(asked.name, text_or(asked.id, "")),)
    elif category == "shell":
        named = (text_or(asked.command, ""),)
    elif category == "web":
        named = (text_or(asked.url, ""),)
    else:
        return ()
    return tuple(_hash(name) for name in named if name)


def _hash(text: str) -> int:
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) >> 1


def _path(asked: Asked) -> str:
    return text_or(asked.filePath, text_or(asked.path, ""))


_PATCH_HEADS: Final = ("*** Add File: ", "*** Update File: ", "*** Delete File: ")
_MOVE_HEAD: Final = "*** Move to: "


def _named_in_patch(asked: Asked) -> tuple[str, ...]:
    """Return the files that the text of a patch names."""
    return tuple(
        line.partition(": ")[2].strip()
        for line in text_or(asked.patchText, "").splitlines()
        if line.startswith(_PATCH_HEADS)
    )


def _recorded_names(recorded: Recorded) -> Iterator[str]:
    for diff in _listed(recorded):
        yield text_or(diff.filePath, text_or(diff.file, text_or(diff.relativePath, "_unknown")))


class _Change(NamedTuple):
    """What happened to a file: of a moved one the new path."""

    path: str
    operation: str
    added: int
    removed: int


_OPERATIONS: Final = {
    "add": "created",
    "added": "created",
    "move": "moved",
    "renamed": "moved",
    "moved": "moved",
    "delete": "deleted",
    "deleted": "deleted",
    "removed": "deleted",
}
"""The words of both generations for what a patch did to a file; else it edited it."""


def file_changes(
    tool: str,
    status: str | None,
    asked: Asked,
    recorded: Recorded,
    output: str,
    session: Session,
) -> tuple[FileChange, ...]:
    """
    Return what a call did to files: nothing unless it completed.

    Lines come from the recorded diffs; a ``write`` records none.  A patch counts once
    for each file.

    Args:
        tool: The canonical name.
        status: How the call ended, None while it is open.
        asked: Its input.
        recorded: Its metadata.
        output: Its output text, where 2.x says whether a ``write`` has made a new file.
        session: Its session; one with a worktree has the paths kept, from there on.
    """
    if status != COMPLETED:
        return ()
    if tool == "read":
        return (_file_change(_Change(_path(asked), "read", 0, 0), session),)
    if CATEGORIES.get(tool) != "edit":
        return ()
    diffs = _recorded_diffs(asked, recorded)
    if tool == "patch":
        return tuple(_file_change(diff, session) for diff in diffs)
    is_new = tool == "write" and (recorded.exists is False or output.startswith("Created"))
    path = _path(asked) or next((diff.path for diff in diffs), "")
    added, removed = sum(diff.added for diff in diffs), sum(diff.removed for diff in diffs)
    change = _Change(path, "created" if is_new else "edited", added, removed)
    return (_file_change(change, session),)


def _file_change(change: _Change, session: Session) -> FileChange:
    path, operation, added, removed = change
    inside = _from_worktree(path, session) if session.worktree and path else ""
    return FileChange(operation, language_of(path), added, removed, inside)


def _from_worktree(path: str, session: Session) -> str:
    """Return a path as it is shown; nothing for what is outside of the worktree."""
    whole_path = normpath(join(session.directory, path))
    within = whole_path.removeprefix(f"{session.worktree.rstrip('/')}/")
    return within if within != whole_path and len(within) <= LONGEST_PATH else ""


def _recorded_diffs(asked: Asked, recorded: Recorded) -> list[_Change]:
    """Return the diffs; 2.0 calls a moved file modified, and only the patch says it moved."""
    lines = text_or(asked.patchText, "").splitlines()
    moves = tuple(
        line.removeprefix(_MOVE_HEAD).rstrip() for line in lines if line.startswith(_MOVE_HEAD)
    )
    found = []
    for diff in [*_listed(recorded), *_single(recorded)]:
        names = (diff.movePath, diff.filePath, diff.file, diff.relativePath)
        path = next((name for name in names if isinstance(name, str) and name), "")
        moved = bool(path) and path.endswith(moves)
        word = "move" if moved else text_or(diff.type, text_or(diff.status, ""))
        operation = _OPERATIONS.get(word, "edited")
        found.append(_Change(path, operation, amount(diff.additions), amount(diff.deletions)))
    return found


def _listed(recorded: Recorded) -> list[_Diff]:
    """Return the diffs of ``files``: those of a patch, and of all edits of 2.x."""
    if not isinstance(recorded.files, msgspec.Raw):
        return []
    try:
        return _diffs(recorded.files)
    except REFUSED:
        return [_odd_diff(one) for one in _objects(_leniently(recorded.files))]


def _single(recorded: Recorded) -> list[_Diff]:
    """Return the diffs of 1.x's ``edit`` and of each edit of ``multiedit``."""
    found: list[_Diff] = []
    if isinstance(recorded.filediff, msgspec.Raw):
        try:
            found.append(_diff(recorded.filediff))
        except REFUSED:
            found += [_odd_diff(one) for one in _objects([_leniently(recorded.filediff)])]
    if isinstance(recorded.results, msgspec.Raw):
        try:
            found += [one.filediff for one in _results(recorded.results) if one.filediff]
        except REFUSED:
            odd = _objects(_leniently(recorded.results))
            found += [_odd_diff(one) for one in _objects([each.get("filediff") for each in odd])]
    return [diff for diff in found if diff != _NOTHING]


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _odd_diff(given: dict[str, Any]) -> _Diff:
    return _Diff(**{key: whole(given[key]) for key in _Diff.__struct_fields__ if key in given})
