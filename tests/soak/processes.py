"""
The processes of a run: the exporter that is killed, and the writers that are.

Owns starting, ending and measuring them; knows nothing of what they count.
"""

from __future__ import annotations

import signal
import sys
import time

from harness.processes.process import Process, with_our_modules
from harness.processes.served import Served
from harness.waiting import wait_for
from soak.place import Place


class Exporter(Served):
    """
    The exporter, life after life on one ledger and one address.

    Attributes:
        life: How many processes there have been.
        answers: Whether it has answered, and nobody has sent it a signal since.
    """

    life = 0
    answers = False

    def launch(self) -> None:
        """Start the next process."""
        self.life += 1
        super().launch()

    def start(self) -> None:
        """Start the next process and wait until it answers."""
        super().start()
        self.answers = True

    def kill(self) -> None:
        """Send SIGKILL."""
        self.answers = False
        super().kill()

    def end(self) -> tuple[int, float]:
        """Send SIGTERM; return the exit code and how many seconds it took."""
        self.answers = False
        began = time.monotonic()
        code = self.stop()
        return code, time.monotonic() - began

    def reload(self) -> None:
        """Send SIGHUP."""
        if self.is_running:
            self.send(signal.SIGHUP)


class Writers:
    """The writers; who is killed is replaced at once, in the place of the dead one."""

    def __init__(self, place: Place, count: int, seed: int, rate: float) -> None:
        self._place = place
        self._seed = seed
        self._rate = rate / count
        self._lives = 0
        self._processes: list[Process | None] = [None] * count
        self.killed = 0

    def start(self, number: int, generation: str) -> None:
        """Start a writer at a place."""
        self._lives += 1
        words = [str(number), str(self._lives), generation, str(self._seed), str(self._rate)]
        writer = Process(
            [sys.executable, "-m", "soak.writer", self._place.directory, *words],
            environment=with_our_modules(),
        )
        writer.launch()
        self._processes[number] = writer

    def kill(self, number: int) -> None:
        """Send SIGKILL to the writer at a place."""
        process = self._processes[number]
        if process:
            process.kill()
            self.killed += 1

    def kill_all(self) -> None:
        """Send SIGKILL to all writers."""
        for number in range(len(self._processes)):
            self.kill(number)

    def stop_all(self) -> None:
        """Let all writers finish what they do and close the database."""
        writers = [process for process in self._processes if process]
        for writer in writers:
            writer.send(signal.SIGTERM)
        for writer in writers:
            writer.wait(30)
        self.dead()

    def dead(self) -> list[int]:
        """
        Return the places of writers that ended by themselves: some kill themselves.

        Raises:
            RuntimeError: One failed.
        """
        codes = [one.process.poll() if one else None for one in self._processes]
        for number, code in enumerate(codes):
            if code not in (None, 0, -signal.SIGKILL, -signal.SIGTERM):
                raise RuntimeError(f"writer {number} failed; its reason stands above")
        return [number for number, code in enumerate(codes) if code is not None]

    def wait_for_first(self) -> None:
        """Wait until there is a database with something in it."""
        wait_for(lambda: self._place.journal.exists() and self._place.journal.stat().st_size > 2000)
