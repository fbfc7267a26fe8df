"""
Edits and files: attempts, changes, lines and operations.

Languages are whatever a function says that the caller passes: the contract leaves the
table open ("from the file name's ending, by a well-kept library or table").
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from contract.oracle.model import Call, Session
from contract.oracle.runs import targets
from contract.oracle.tools import CATEGORIES
from contract.oracle.turns import Turn
from contract.oracle.values import number, obj, objs, word

Language = Callable[[str], str]
_LANGUAGES = {".md": "markdown", ".py": "python", ".ts": "typescript", ".txt": "text"}
_PATCHED = {
    "add": "created",
    "added": "created",
    "update": "edited",
    "modified": "edited",
    "move": "moved",
    "renamed": "moved",
    "moved": "moved",
    "delete": "deleted",
    "deleted": "deleted",
    "removed": "deleted",
}


def language(path: str) -> str:
    """Return the language of a few endings, ``other`` for all else."""
    return _LANGUAGES.get(PurePosixPath(path).suffix.lower(), "other")


def is_edit(call: Call) -> bool:
    """Return whether a call is an attempt: "edit, write, multiedit, patch"."""
    return CATEGORIES.get(call.tool) == "edit"


def changes(turn: Turn) -> tuple[list[tuple[str, int]], Counter[tuple[str, ...]]]:
    """
    Return a turn's changes as tool and number of attempts, and the abandoned ones by tool.

    "Attempts on the same file in the same turn until one succeeded" and "files on which
    every attempt of the turn failed".  Choices: attempts of all edit tools on a file
    count together, under the tool of the last one; an attempt ended `completed` or
    `error` (a denied, aborted or abandoned one tried nothing); after a success the next
    change of the file begins; failures after a success are no abandoned change.
    """
    tried: dict[str, int] = defaultdict(int)
    last: dict[str, str] = {}
    done: list[tuple[str, int]] = []
    changed: set[str] = set()
    for step in turn.steps:
        for call in filter(is_edit, step.calls):
            if call.status not in {"completed", "error"}:
                continue
            for path in targets(call, turn.session.directory):
                tried[path] += 1
                last[path] = call.tool
                if call.status == "completed":
                    changed.add(path)
                    done.append((call.tool, tried.pop(path)))
    failed = [tool for path, tool in last.items() if path not in changed]
    return done, Counter[tuple[str, ...]]((tool,) for tool in failed)


def _files(call: Call) -> Iterator[tuple[str, str, int, int]]:
    """
    Return path, kind of change, lines added and lines removed, as recorded.

    Of a moved file the new path; 2.0.15 calls it ``modified``, and only the patch's text
    says that it moved.
    """
    text = str(call.given.get("patchText") or "")
    moves = re.findall(r"^\*\*\* Move to: (.*?)\s*$", text, re.MULTILINE)
    diffs = [obj(call.meta.get("filediff"))] if call.meta.get("filediff") else []
    for result in objs(call.meta.get("results")):  # of a multiedit
        diffs += [obj(result.get("filediff"))] if result.get("filediff") else []
    for file in [*objs(call.meta.get("files")), *diffs]:
        names = (file.get(key) for key in ("movePath", "filePath", "file", "relativePath"))
        path = word(*names)
        moved = any(path.endswith(name) for name in moves)
        kind = "move" if moved else word(file.get("type"), file.get("status"), default="update")
        added, removed = (number(file.get(key)) or 0 for key in ("additions", "deletions"))
        yield path, kind, added, removed


def lines(session: Session, of: Language) -> Counter[tuple[str, ...]]:
    """
    Return lines by change and language, "from the recorded diff counts".

    Only of completed calls.  A ``write`` records none, so it adds none.
    """
    found: Counter[tuple[str, ...]] = Counter()
    for call in session.calls:
        if is_edit(call) and call.status == "completed":
            for path, _, added, removed in _files(call):
                found["added", of(path)] += added
                found["removed", of(path)] += removed
    return +found


def operations(session: Session, of: Language) -> Counter[tuple[str, ...]]:
    """
    Return "successful `read`, `edited`, `created`, `deleted`, `moved`" by language.

    Choices: ``read`` is the tool of that name alone; a ``write`` has created a file
    when v1 says that it did not exist, or v2's output begins with "Created"; a patch
    counts once for each file, and so do a file's edits for each call.
    """
    found: Counter[tuple[str, ...]] = Counter()
    for call in session.calls:
        if call.status != "completed":
            continue
        path = word(call.given.get("filePath"), call.given.get("path"), default="")
        if call.tool == "read":
            found["read", of(path)] += 1
        elif call.tool in {"edit", "multiedit"}:
            recorded = next((name for name, *_ in _files(call)), "")
            found["edited", of(path or recorded)] += 1
        elif call.tool == "write":
            new = call.meta.get("exists") is False or call.text.startswith("Created")
            found["created" if new else "edited", of(path)] += 1
        elif call.tool == "patch":
            for name, kind, _, _ in _files(call):
                found[_PATCHED.get(kind, "edited"), of(name)] += 1
    return found
