"""
Rows that hold secrets where nothing should be: open, broken, or of invented names.

Owns what is written, in both generations; the planter says where a secret was.
Every row is written at once and may be written again as its end.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import apsw

from planting import Planter

_NOBODY: Final = "a name that the model invented"


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

    def begin(self) -> None:
        """Write calls that have not ended, broken rows, and calls of what does not exist."""
        for generation in self.generations:
            write = self._write_v1 if generation == "v1" else self._write_v2
            for call in self._open(generation) + self._invented(generation):
                write(json.dumps(call))
            for data in self._broken(generation):
                write(data)
        if "v1" in self.generations:
            self._message(f'{{"role": "{self._secret("role")}"}}')
            self._message(f'{{"role": "assistant", {self._secret("broken message")}')

    def go_on(self) -> None:
        """Let more calls begin, and open ones print, while somebody looks."""
        self.begin()

    # What is written.

    def _open(self, generation: str) -> list[dict[str, Any]]:
        inputs = {
            "skill": {"name" if generation == "v1" else "id": self._secret("open skill")},
            "bash" if generation == "v1" else "shell": {
                "command": f"SECRET={self._secret('open command')} aws s3 ls",
                "description": self._secret("description of an open command"),
            },
            "edit": {
                "filePath": f"/x/{self._secret('open filePath')}.py",
                "path": f"/x/{self._secret('open path')}.py",
                "oldString": self._secret("open oldString"),
                "newString": self._secret("open newString"),
            },
            "webfetch": {"url": f"https://x.example/{self._secret('open url')}"},
        }
        return [
            self._call(
                generation, tool, "running", {"input": given, "title": self._secret("title")}
            )
            for tool, given in inputs.items()
        ]

    def _invented(self, generation: str) -> list[dict[str, Any]]:
        name = self._secret(_NOBODY)
        key = "name" if generation == "v1" else "id"
        said = (
            f'Skill "{name}" not found.' if generation == "v1" else f"Unable to load skill {name}"
        )
        error = said if generation == "v1" else {"type": "tool.execution", "message": said}
        calls = [self._call(generation, "skill", "error", {"input": {key: name}, "error": error})]
        if generation == "v1":
            given = {"tool": name, "error": f"Model tried to call unavailable tool '{name}'."}
            calls.append(self._call("v1", "invalid", "completed", {"input": given, "output": name}))
            calls.append(self._call("v1", name, "pending", {"input": {}, "raw": name}))
            calls.append(
                self._call("v1", name, "error", {"input": {}, "error": "Tool execution aborted"})
            )
        else:
            gone = {"type": "unknown", "message": f'No tool named "{name}" is currently available'}
            calls.append(self._call("v2", name, "streaming", {"input": name}))
            calls.append(self._call("v2", name, "error", {"input": {}, "error": gone}))
            broken = {"type": "tool.input-json", "message": name}
            calls.append(self._call("v2", name, "error", {"input": {}, "error": broken}))
            inner = {"toolCalls": [{"tool": "demo.echo", "status": "error", "error": name}]}
            given = {"input": {"code": name}, "metadata": inner, "content": []}
            calls.append(self._call("v2", "execute", "completed", given))
        return calls

    def _broken(self, generation: str) -> list[str | bytes]:
        whole = json.dumps(
            self._call(generation, "read", "completed", {"input": {"path": self._secret("cut")}})
        )
        odd_time = self._call(generation, "read", "completed", {"output": self._secret("odd time")})
        (odd_time.get("time") or odd_time["state"]["time"]).update(start=self._secret("start"))
        (odd_time.get("time") or odd_time["state"]["time"]).update(ran=self._secret("ran"))
        no_state = self._call(generation, "read", "completed", {})
        no_state["state"] = self._secret("state")
        return [
            whole[:-9],
            json.dumps([self._secret("a list")]),
            json.dumps(self._call(generation, "read", self._secret("status"), {})),
            json.dumps(odd_time),
            json.dumps(no_state),
            json.dumps(no_state | {"callID": {self._secret("key"): self._secret("call id")}}),
            b'{"type": "tool", "tool": "read", "callID": "'
            + self._secret("UTF-8").encode()
            + b"\xff",
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

    def _write_v1(self, data: str | bytes) -> None:
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

    def _write_v2(self, data: str | bytes) -> None:
        self._number += 1
        now = time.time_ns() // 1_000_000
        if isinstance(data, str) and data.startswith('{"type"') and data.endswith("}"):
            step = {"time": {"created": now}, "agent": "build", "content": [json.loads(data)]}
            data = json.dumps(step)
        session, last = self._db.execute(
            "SELECT session_id, max(seq) FROM session_message GROUP BY session_id LIMIT 1"
        ).get
        self._db.execute(
            "INSERT INTO session_message (id, session_id, type, seq, time_created, time_updated, "
            "data) VALUES (?, ?, 'assistant', ?, ?, ?, ?)",
            (f"msg_odd_{self._number}", session, last + 1, now, now, data),
        )
