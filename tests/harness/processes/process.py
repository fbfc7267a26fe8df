"""
A program in a process of its own: started, waited for, and gone when its block ends.

What every process of the tests shares. Knows neither what is started nor what a test
asserts.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from harness.markers import demand_time
from harness.waiting import PATIENCE_S, wait_for

_TAIL: Final = 4000
_MEMORY: Final = re.compile(r"^VmRSS:\s*(\d+) kB$", re.MULTILINE)


class Process:
    """
    A program that runs while its block does. Use it as a context manager.

    A subclass says when it is up. Its log is shown if the block fails.

    Args:
        command: The program and its words.
        log: Where its output goes, one life after the other; without it, where ours goes.
        environment: Its variables; without them, ours.
        within: Where it stands.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        within: Path | None = None,
    ) -> None:
        self.command = [str(word) for word in command]
        self._log = log
        self._environment = environment
        self._within = within
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            sys.stderr.write(self.log[-_TAIL:])
        self.close()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process, or the last one that ran."""
        assert self._process is not None, f"{self.command[0]} was not started"
        return self._process

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started, and has not ended since."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has written so far, in all its lives."""
        if self._log is None or not self._log.exists():
            return ""
        return self._log.read_text("utf-8", errors="replace")

    def start(self) -> None:
        """Start the program and wait until it is up."""
        self.launch()
        wait_for(self._has_come_up, PATIENCE_S)

    def launch(self) -> None:
        """Start the program."""
        demand_time()
        if self._log is None:
            self._process = self._open(None)
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = self._open(log)

    def is_up(self) -> bool:
        """Return whether it does what it was started for."""
        return True

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """Wait until it has ended; return its exit code."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Ask it to end, as a service manager does; return its exit code."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """Send SIGKILL: it has no chance to put anything in order."""
        self.process.kill()
        self.wait()

    def memory(self) -> int:
        """Return its resident bytes, 0 if nobody tells."""
        try:
            found = _MEMORY.search(Path(f"/proc/{self.pid}/status").read_text(encoding="ascii"))
        except OSError:  # ended meanwhile, or no Linux
            return 0
        return int(found[1]) * 1024 if found else 0

    def files(self) -> int:
        """Return how many files it has open, 0 if nobody tells."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208  # only their number
        except OSError:
            return 0

    def close(self) -> None:
        """End it, whatever it does; safe to call again."""
        if self.is_running:
            self.kill()

    def _open(self, log: IO[bytes] | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command,
            cwd=self._within,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def _has_come_up(self) -> bool:
        up = self.is_up()
        if not up and not self.is_running:
            raise RuntimeError(f"{self.command[0]} ended: {self.log[-_TAIL:]}")
        return up


class LineProcess(Process):
    """
    A program that is told things and answers, a line each.

    Args:
        command: The program and its words.
        first: The line with which it begins, if it says when it is up.
        environment: Its variables; without them, ours.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        first: str = "",
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(command, environment=environment)
        self._first = first

    def start(self) -> None:
        """Start the program and wait for its first line."""
        self.launch()
        if self._first:
            said = self.answer()
            assert said == self._first, f"{self.command} began with {said!r}"

    def tell(self, line: str) -> None:
        """Write a line to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def answer(self) -> str:
        """Return the next line of its output, empty if it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().removesuffix("\n")

    def close(self) -> None:
        """End it and close both ends; safe to call again."""
        super().close()
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()

    def _open(self, log: IO[bytes] | None) -> subprocess.Popen[bytes]:
        assert log is None
        return subprocess.Popen(
            self.command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )


def with_our_modules() -> dict[str, str]:
    """Return our environment, in which another Python finds the modules that this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
