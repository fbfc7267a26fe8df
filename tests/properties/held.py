"""
Readers that are held back: each is some windows ahead of who counts, and never more.

They are those that a first read starts, but in threads of this process that run only
while it waits for them; so a change of the database comes between the same two windows
on every run.
"""

from __future__ import annotations

import gc
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast
from unittest.mock import patch

import msgspec

from opencode_exporter.service import read_ahead

_END = bytes(read_ahead._LENGTH_BYTES)


class Held:
    """
    One reader, and what it has written.

    Args:
        task: What it is told to read.
        ahead: How many windows it has read of which none was taken in; at least 1.
    """

    def __init__(self, task: Any, ahead: int) -> None:
        self._go, self._rests = threading.Semaphore(0), threading.Semaphore(0)
        self._written = bytearray()
        self._windows, self._wanted = 0, ahead
        self._is_closed = self._is_over = False
        self._given = io.BytesIO(msgspec.json.encode(task) + b"\n")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._catch_up()

    def _run(self) -> None:
        self._go.acquire()
        try:
            read_ahead.main(self._given, cast("Any", self))
        finally:
            self._is_over = True
            self._rests.release()

    # What the reader does.

    def write(self, data: bytes) -> None:
        """Take what it writes."""
        if self._is_closed:
            raise BrokenPipeError
        self._written += data

    def flush(self) -> None:
        """Take a whole window, and let it wait."""
        self._windows += 1
        self._rests.release()
        self._go.acquire()

    # What who counts does.

    def read(self, size: int) -> bytes:
        """Return what it has written; the end of a window lets it read another one."""
        data = bytes(self._written[:size])
        del self._written[:size]
        if data == _END:
            self._wanted += 1
            self._catch_up()
        return data

    def _catch_up(self) -> None:
        """Let it read until it is as far ahead as it may be."""
        while self._windows < self._wanted and not self._is_over:
            self._go.release()
            self._rests.acquire()

    def close(self) -> None:
        """End it."""
        self._is_closed = True
        self._go.release()
        self._thread.join()


@contextmanager
def held_back(ahead: int) -> Iterator[None]:
    """Let readers be so many windows ahead, in threads."""

    @contextmanager
    def reader(task: Any) -> Iterator[IO[bytes]]:
        held = Held(task, ahead)
        try:
            yield cast("IO[bytes]", held)
        finally:
            held.close()

    with patch.object(read_ahead, "_reader", reader), patch.object(read_ahead, "_NICE", 0):
        try:
            yield
        finally:
            gc.enable()  # a reader ends soon, and needs none
