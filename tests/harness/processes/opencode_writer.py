"""
A writer in a process of its own, as OpenCode is one beside the exporter.

It does what it is told, one command at a time, and answers when it is done.
Knows nothing of the exporter.

Where the exporter is in the test's own process and starts readers, the writer must
be in another: whoever closes a file loses the locks of its whole process on it, so
a reader would take the writer for dead, and clear the index under its feet.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import apsw

from harness.databases import V1
from harness.processes.process import LineProcess, with_our_modules
from harness.rereading import add_call

_PATIENCE_S = 1.0  # within which a checkpoint must have succeeded, however often it is tried
_COMMITS_BETWEEN = 5


class Neighbour(LineProcess):
    """A process with the database open; killed, it leaves its WAL and its index as they are."""

    def __init__(self, path: Path) -> None:
        super().__init__([sys.executable, __file__, path], environment=with_our_modules())
        self.path = path

    def start(self) -> None:
        """Start it, and let it open the database."""
        super().start()
        self.ask("open")

    def ask(self, command: str, *words: str) -> Any:
        """Give a command and return its answer."""
        self.begin(command, *words)
        return self.finish()

    def begin(self, command: str, *words: str) -> None:
        """Give a command."""
        self.tell(json.dumps([command, *words]))

    def finish(self) -> Any:
        """Return the answer to the command that was given last."""
        return json.loads(self.answer())


class _Writer:
    """The commands, by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: V1 | None = None

    @property
    def _open(self) -> V1:
        assert self._database is not None
        return self._database

    def open(self) -> None:
        self._database = V1(self._path, ddl="" if self._path.exists() else None)
        self._open.db.set_busy_timeout(0)  # who waits for nobody notices every lock

    def commit(self, count: str) -> None:
        for _ in range(int(count)):
            add_call(self._open)

    def sql(self, *statements: str) -> list[Any]:
        return [self._open.db.execute(statement).fetchall() for statement in statements]

    def close(self) -> list[str]:
        """Close as the last one, and return what lies there then."""
        self._open.close()
        return sorted(path.name for path in self._path.parent.glob(f"{self._path.name}*"))

    def storm(self, until: str) -> dict[str, float]:
        """Commit and checkpoint without a pause until a file is there."""
        pause, stop = threading.Event(), Path(until)
        commits = busy = truncated = failed = 0
        worst = 0.0
        while not stop.exists():
            for _ in range(_COMMITS_BETWEEN):
                try:
                    add_call(self._open)
                    commits += 1
                except apsw.BusyError:
                    busy += 1
            began = time.monotonic()
            while self._refused() and time.monotonic() - began < _PATIENCE_S:
                pause.wait(0.001)
            took = time.monotonic() - began
            worst = max(worst, took)
            truncated += 1
            failed += took >= _PATIENCE_S
        return {
            "commits": commits,
            "busy": busy,
            "truncated": truncated,
            "failed": failed,
            "worst": worst,
        }

    def seesaw(self, until: str, seed: str) -> int:
        """
        Write the same number into the first and the last part, in one transaction.

        Between them other rows grow and shrink, and the WAL is checkpointed, begun
        anew or folded by a last close: whoever sees two numbers saw two states.
        """
        rng, stop, pause = Random(seed), Path(until), threading.Event()  # noqa: S311
        count = 0
        while not stop.exists():
            count += 1
            row, size = rng.randrange(2, 200), rng.randrange(9_000)
            with self._open.db as db:
                db.execute("UPDATE part SET time_updated = ? WHERE rowid = 1", (count,))
                db.execute("UPDATE part SET data = ? WHERE rowid = ?", ("x" * size, row))
                sql = "UPDATE part SET time_updated = ? WHERE rowid = (SELECT max(rowid) FROM part)"
                db.execute(sql, (count,))
            if rng.random() < 0.1:
                mode = rng.choice(("PASSIVE", "FULL", "RESTART", "TRUNCATE"))
                self._open.db.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            elif rng.random() < 0.02:
                self.close()
                self.open()
            if rng.random() < 0.8:
                pause.wait(rng.random() * 0.01)
        return count

    def _refused(self) -> bool:
        found = self._open.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return found is None or found[0] != 0


def main() -> None:
    """Do what the standard input says."""
    writer = _Writer(Path(sys.argv[1]))
    for line in sys.stdin:
        command, *words = json.loads(line)
        print(json.dumps(getattr(writer, command)(*words)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
