"""
Targets of OpenCode's calls: their files, URL, skill or command, and what became of files.

Pure; both generations have the same fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from opencode_exporter.catalog.vocabulary import CATEGORIES
from opencode_exporter.decode.opencode.call_json import Asked, Recorded, listed_diffs, single_diffs
from opencode_exporter.decode.targets import file_change, hashes_of, within
from opencode_exporter.decode.values import amount, text_or
from opencode_exporter.events import COMPLETED, FileChange, Session


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
        named = tuple(sorted(within(directory, name) for name in files))
    elif category in {"read", "edit"}:
        path = _path(asked)
        named = (within(directory, path),) if path else ()
    elif category == "skill":
        named = (text_or(asked.name, text_or(asked.id, "")),)
    elif category == "shell":
        named = (text_or(asked.command, ""),)
    elif category == "web":
        named = (text_or(asked.url, ""),)
    else:
        return ()
    return hashes_of(named)


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
    for diff in listed_diffs(recorded):
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
        return (file_change(_path(asked), "read", session),)
    if CATEGORIES.get(tool) != "edit":
        return ()
    diffs = _recorded_diffs(asked, recorded)
    if tool == "patch":
        return tuple(
            file_change(diff.path, diff.operation, session, diff.added, diff.removed)
            for diff in diffs
        )
    is_new = tool == "write" and (recorded.exists is False or output.startswith("Created"))
    path = _path(asked) or next((diff.path for diff in diffs), "")
    added, removed = sum(diff.added for diff in diffs), sum(diff.removed for diff in diffs)
    operation = "created" if is_new else "edited"
    return (file_change(path, operation, session, added, removed),)


def _recorded_diffs(asked: Asked, recorded: Recorded) -> list[_Change]:
    """Return the diffs; 2.0 calls a moved file modified, and only the patch says it moved."""
    lines = text_or(asked.patchText, "").splitlines()
    moves = tuple(
        line.removeprefix(_MOVE_HEAD).rstrip() for line in lines if line.startswith(_MOVE_HEAD)
    )
    found = []
    for diff in [*listed_diffs(recorded), *single_diffs(recorded)]:
        names = (diff.movePath, diff.filePath, diff.file, diff.relativePath)
        path = next((name for name in names if isinstance(name, str) and name), "")
        moved = bool(path) and path.endswith(moves)
        word = "move" if moved else text_or(diff.type, text_or(diff.status, ""))
        operation = _OPERATIONS.get(word, "edited")
        found.append(_Change(path, operation, amount(diff.additions), amount(diff.deletions)))
    return found
