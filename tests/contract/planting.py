"""
Secrets planted in databases: everything that a user or a model wrote becomes one.

Every secret is unique and remembers its place, so that a leak names where it came
from.  Structure stays as it was: names of tools, loaded skills, agents and models,
words of state, ids, times, and the phrases by which errors are told apart.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apsw

PREFIX: Final = "zqhushqz"
"""What every secret begins with; nothing else holds it."""
_SECRET: Final = re.compile(rf"{PREFIX}\d{{6}}")
_ALIGNMENTS: Final = 3  # of base64

_KEPT: Final = frozenset(
    {
        *("type", "role", "agent", "mode", "modelID", "providerID", "finish", "status", "callID"),
        *("id", "tool", "name", "outcome", "reason", "skill", "variant", "previous", "parentID"),
        *("sessionId", "sessionID", "parentSessionId"),
    }
)
"""Keys whose words are OpenCode's own, or names that are shown."""
_PATHS: Final = frozenset(
    {
        *("filePath", "path", "file", "files", "relativePath", "movePath", "filepath"),
        *("directory", "dir", "cwd", "root"),
    }
)
_COLUMNS: Final = {
    "session": "title slug directory path share_url summary_diffs metadata revert permission",
    "todo": "content",
    "project": "name icon_url commands",
}
_COLUMNS_V2: Final = _COLUMNS | {"session_v2": _COLUMNS["session"]}
_READ: Final = frozenset({"part", "message", "session_message", *_COLUMNS_V2})
_OURS: Final = frozenset({"migration", "data_migration"})


class Planter:
    """Makes secrets, and says later which one a text holds."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def secret(self, place: str) -> str:
        """Return a secret that nobody has yet."""
        self.places.append(place)
        return f"{PREFIX}{len(self.places) - 1:06d}"

    def named_in(self, text: str) -> set[str]:
        """Return the places of the secrets that a text holds in clear."""
        return {self.places[int(found[len(PREFIX) :])] for found in _SECRET.findall(text.lower())}

    # Strings.

    def value(self, place: str, key: str, text: str) -> str:
        """Return what stands in a text's place."""
        secret = self.secret(place)
        if key in _PATHS:
            return f"/home/{secret}/{secret}{Path(text).suffix or f'.{secret}'}"
        if key == "command":
            return f"SECRET={secret} aws s3 cp {secret} && cd /{secret} && make {secret}"
        if key == "url":
            return f"https://{secret}.example/{secret}?key={secret}"
        if key in ("error", "message"):
            return f"{text} {secret}"  # it is known by how it begins
        return f"{secret} {text} {secret}"

    def planted(self, found: Any, place: str = "", key: str = "", *, kept: str = "") -> Any:
        """
        Return JSON in which every text is a secret.

        Args:
            found: The JSON.
            place: Where it stands.
            key: The key that it is the value of.
            kept: A key of inputs that is kept: the name of a skill that was loaded.
        """
        if isinstance(found, dict):
            kept = name_in_input(found) or kept
            return {
                name: self.planted(inner, f"{place}.{name}", name, kept=kept)
                for name, inner in found.items()
            }
        if isinstance(found, list):
            return [self.planted(inner, f"{place}[]", key, kept=kept) for inner in found]
        if not isinstance(found, str):
            return found
        is_input = ".input." in place
        if key == kept if is_input else key in _KEPT:
            return found
        return self.value(place, key, found)

    # Databases.

    def plant(self, path: Path) -> None:
        """Replace every text of a database, the tables included that are never read."""
        with apsw.Connection(str(path)) as db:
            tables = [str(name) for (name,) in db.execute(_TABLES).fetchall()]
            for table in tables:
                if table in ("part", "message", "session_message"):
                    self._plant_rows(db, table)
                elif table in _COLUMNS_V2:
                    self._plant_columns(db, table, _COLUMNS_V2[table].split())
                elif table not in _OURS:
                    self._plant_columns(db, table, _texts_of(db, table))
            home = self.secret("project.worktree")
            db.execute("UPDATE project SET worktree = ?", (f"/home/{home}/demo-project",))
        db.close()

    def _plant_rows(self, db: apsw.Connection, table: str) -> None:
        rows: list[Any] = db.execute(f"SELECT rowid, data FROM {table}").fetchall()
        for rowid, data in rows:
            made = json.dumps(self.planted(json.loads(data), table))
            db.execute(f"UPDATE {table} SET data = ? WHERE rowid = ?", (made, rowid))

    def _plant_columns(self, db: apsw.Connection, table: str, columns: list[str]) -> None:
        there = {row[1] for row in db.execute(f"PRAGMA table_info({table})").fetchall()}
        for column in columns:
            if column in there:
                value = self.value(f"{table}.{column}", column, "")
                db.execute(f"UPDATE {table} SET {column} = ?", (value,))


_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"


def _texts_of(db: apsw.Connection, table: str) -> list[str]:
    """Return the columns of a table that hold texts and are no part of its keys."""
    keys = {row[3] for row in db.execute(f"PRAGMA foreign_key_list({table})").fetchall()}
    columns: list[Any] = db.execute(f"PRAGMA table_info({table})").fetchall()
    return [
        name
        for _, name, kind, _, _, pk in columns
        if kind == "TEXT" and not pk and name not in keys
    ]


def name_in_input(item: dict[str, Any]) -> str:
    """Return the key under which a call's input names what exists, so that it is no secret."""
    state = item.get("state")
    if not isinstance(state, dict) or state.get("status") != "completed":
        return ""
    tool, given = item.get("tool", item.get("name")), state["input"]
    if tool == "skill":
        return "id" if "id" in given else "name"
    is_real = tool == "invalid" and given["error"].startswith("Invalid input for tool ")
    return "tool" if is_real else ""


def needles() -> Iterator[bytes]:
    """Yield what a secret begins with, in every encoding in which it could be written."""
    clear = PREFIX.encode()
    yield from (clear, PREFIX.encode("utf-16-le"), PREFIX.encode("utf-16-be"))
    yield clear.hex().encode()
    for ahead in range(_ALIGNMENTS):
        # Only whole groups of the secret alone are the same wherever it stands.
        text = base64.b64encode(b"\0" * ahead + clear)
        yield text[4 if ahead else 0 : len(b"\0" * ahead + clear) // 3 * 4].lower()


def leaks(content: bytes) -> list[str]:
    """Return the surroundings of every secret in some bytes, in whatever case and encoding."""
    lowered = content.lower()
    found = []
    for needle in needles():
        at = lowered.find(needle)
        while at >= 0:
            found.append(content[max(0, at - 200) : at + 100].decode("utf-8", "replace"))
            at = lowered.find(needle, at + 1)
    return found
