"""
Targets: what a call is about and what it did to files, whichever client made it.

Pure.  Files, URLs, skills and commands are kept as hashes; a path is kept only where its
session has a worktree, as ``--files.top`` asks for.
"""

from __future__ import annotations

from collections.abc import Iterable
from posixpath import join, normpath

from opencode_exporter.bits import hashed
from opencode_exporter.decode.languages import language_of
from opencode_exporter.events import LONGEST_PATH, FileChange, Session


def hashes_of(names: Iterable[str]) -> tuple[int, ...]:
    """Return the hashes of what a call is about; empty names are none."""
    return tuple([hashed(name) >> 1 for name in names if name])


def within(directory: str, path: str) -> str:
    """Return a path without dots; a relative one begins at a directory."""
    if path[:1] == "/" and path[-1] != "/" and "//" not in path and "/." not in path:
        return path  # nearly all: there is nothing to be done
    return normpath(join(directory, path))


def file_change(
    path: str, operation: str, session: Session, added: int = 0, removed: int = 0
) -> FileChange:
    """
    Return what happened to a file.

    Args:
        path: The file, as the call names it; of a moved one its new name.
        operation: See `FileChange`.
        session: The session of the call.
        added: Lines.
        removed: Lines.
    """
    inside = _from_worktree(path, session) if session.worktree and path else ""
    return FileChange(operation, language_of(path), added, removed, inside)


def _from_worktree(path: str, session: Session) -> str:
    """Return a path as it is shown; nothing for what is outside of the worktree."""
    whole_path = within(session.directory, path)
    inside = whole_path.removeprefix(f"{session.worktree.rstrip('/')}/")
    return inside if inside != whole_path and len(inside) <= LONGEST_PATH else ""
