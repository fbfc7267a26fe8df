"""
Rows that hold secrets where nothing should be: open, broken, or of invented names.

Owns what is written, in both generations; the planter says where a secret was.
Each row is written by a transaction of its own, stamped with the time of day.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import apsw

from contract.planting import Planter

_NOBODY: Final = "a name that the model invented"


def _step(*calls: dict[str, Any]) -> str:
    """Return the data of a step of 2.x."""
    created = time.time_ns() // 1_000_000
    return json.dumps({"time": {"created": created}, "agent": "build", "content": calls})


class OddRows:
    """
    Writes such rows into a database of either generation, or of both.

    Args:
        path: The database; it has at least one message of each generation it knows.
        planter: Makes the secrets.
    """

    def __init__(self, path: Path, planter: Planter) -> None:
        self._planter = planter
        self._db = apsw.Connection(str(path))
        self._db.set_busy_timeout(5000)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._number = 0
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master").fetchall()}
        self.generations = [
            name for name, table in (("v1", "part"), ("v2", "session_v2")) if table in tables
        ]

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _secret(self, place: str) -> str:
        return self._planter.secret(f"odd rows: {place}")

    def write(self) -> None:
        """Write broken rows, calls of what does not exist, and calls that have not ended."""
        if "v1" in self.generations:
            self._message(f'{{"role": "{self._secret("role")}"}}')
            self._message(f'{{"role": "assistant", {self._secret("broken message")}')
            for data in self._broken("v1"):
                self._part(data)
            for call in self._invented("v1") + self._open("v1"):
                self._part(json.dumps(call))
        if "v2" in self.generations:
            for data in self._broken("v2"):
                self._row(data)
            for call in self._invented("v2"):
                self._row(_step(call))
            # All in the last step: a later one would say that they are abandoned.
            self._row(_step(*self._open("v2")))

    # What is written.

    def _open(self, generation: str) -> list[dict[str, Any]]:
        is_old = generation == "v1"
        command = f"SECRET={self._secret('open command')} aws s3 ls"
        path = f"/x/{self._secret('open path')}.py"
        inputs: dict[str, dict[str, str]] = {
            "skill": {"name" if is_old else "id": self._secret("open skill")},
            "bash" if is_old else "shell": {"command": command},
            "edit": {"filePath" if is_old else "path": path, "oldString": self._secret("old")},
            "webfetch": {"url": f"https://x.example/{self._secret('open url')}"},
        }
        name = self._secret(f"{_NOBODY}, not looked up yet")
        early = self._call(
            generation, name, "pending" if is_old else "streaming", {"input": name, "raw": name}
        )
        running = [
            self._call(
                generation, tool, "running", {"input": given, "title": self._secret("title")}
            )
            for tool, given in inputs.items()
        ]
        return [*running, early]

    def _invented(self, generation: str) -> list[dict[str, Any]]:
        name = self._secret(_NOBODY)
        key = "name" if generation == "v1" else "id"
        said = (
            f'Skill "{name}" not found.' if generation == "v1" else f"Unable to load skill {name}"
        )
        error = said if generation == "v1" else {"type": "tool.execution", "message": said}
        calls = [self._call(generation, "skill", "error", {"input": {key: name}, "error": error})]
        if generation == "v1":
            # The model may also call that tool itself, with whatever it likes.
            for says in ("Model tried to call unavailable tool", "Invalid input for tool"):
                given = {"tool": name, "error": f"{says} {name}."}
                state = {"input": given, "output": name}
                calls.append(self._call("v1", "invalid", "completed", state))
            calls.append(
                self._call("v1", name, "error", {"input": {}, "error": "Tool execution aborted"})
            )
        else:
            gone = {"type": "unknown", "message": f'No tool named "{name}" is currently available'}
            calls.append(self._call("v2", name, "error", {"input": {}, "error": gone}))
            broken = {"type": "tool.input-json", "message": name}
            calls.append(self._call("v2", name, "error", {"input": {}, "error": broken}))
            inner = {"toolCalls": [{"tool": "demo.echo", "status": "error", "error": name}]}
            ended = {"input": {"code": name}, "metadata": inner, "content": []}
            calls.append(self._call("v2", "execute", "completed", ended))
        return calls

    def _broken(self, generation: str) -> list[str | bytes]:
        given = {"input": {"path": self._secret("cut")}}
        whole = json.dumps(self._call(generation, "read", "completed", given))
        odd_time = self._call(generation, "read", "completed", {"output": self._secret("odd time")})
        times = odd_time["state"]["time"] if generation == "v1" else odd_time["time"]
        times |= {"start": self._secret("start"), "ran": self._secret("ran")}
        no_state = self._call(generation, "read", "completed", {})
        no_state["state"] = self._secret("state")
        keyless = no_state | {"callID": {self._secret("key"): self._secret("call id")}}
        unknown = self._call(generation, "read", self._secret("status"), {})
        calls = [unknown, odd_time, no_state, keyless]
        made = [json.dumps(call) if generation == "v1" else _step(call) for call in calls]
        cut = b'{"type": "tool", "tool": "read", "callID": "' + self._secret("UTF-8").encode()
        return [
            *made,
            whole[:-9],
            json.dumps([self._secret("a list")]),
            cut + b"\xff",
            self._secret("no JSON at all"),
        ]

    def _call(
        self, generation: str, tool: str, status: str, state: dict[str, Any]
    ) -> dict[str, Any]:
        self._number += 1
        now, call = time.time_ns() // 1_000_000, f"call_odd_{self._number}"
        if generation == "v1":
            times = {"start": now} if status == "running" else {"start": now, "end": now + 5}
            made = {"status": status, "time": times} | state
            return {"type": "tool", "tool": tool, "callID": call, "state": made}
        times = {"created": now} | ({} if status == "streaming" else {"ran": now})
        if status not in ("streaming", "running"):
            times["completed"] = now + 5
        made = {"status": status} | state
        return {"type": "tool", "id": call, "name": tool, "state": made, "time": times}

    # How it is written.

    def _part(self, data: str | bytes) -> None:
        self._number += 1
        now = time.time_ns() // 1_000_000
        message, session = self._db.execute(
            "SELECT id, session_id FROM message ORDER BY rowid DESC LIMIT 1"
        ).get
        self._db.execute(
            "INSERT INTO part (id, message_id, session_id, time_created, time_updated, data) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (f"prt_odd_{self._number}", message, session, now, now, data),
        )

    def _message(self, data: str) -> None:
        self._number += 1
        now = time.time_ns() // 1_000_000
        session = self._db.execute("SELECT session_id FROM message LIMIT 1").get
        self._db.execute(
            "INSERT INTO message (id, session_id, time_created, time_updated, data) "
            "VALUES (?, ?, ?, ?, ?)",
            (f"msg_odd_{self._number}", session, now, now, data),
        )

    def _row(self, data: str | bytes) -> None:
        self._number += 1
        now = time.time_ns() // 1_000_000
        session, last = self._db.execute(
            "SELECT session_id, max(seq) FROM session_message GROUP BY session_id LIMIT 1"
        ).get
        self._db.execute(
            "INSERT INTO session_message (id, session_id, type, seq, time_created, time_updated, "
            "data) VALUES (?, ?, 'assistant', ?, ?, ?, ?)",
            (f"msg_odd_{self._number}", session, last + 1, now, now, data),
        )
