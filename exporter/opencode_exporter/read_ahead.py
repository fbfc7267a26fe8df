"""
Reading ahead: a long first read in a process of its own, while we count.

Only an accelerator.  Whatever it does not bring, for whatever reason, the tailer
reads after it from where the ledger's cursors are; so a failure here loses
nothing and is not even an error.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from opencode_exporter.batch import Chunk, Cursor
from opencode_exporter.errors import SourceError
from opencode_exporter.source import Source
from opencode_exporter.tailer import Tailer
from opencode_exporter.waker import SystemClock

log = logging.getLogger(__name__)

WORTH_IT_ROWS: Final = 50_000
"""Rows from which a second process saves more than its start costs (0.2 s)."""

_LENGTH_BYTES: Final = 4
_MAPPED_BYTES: Final = 1 << 36

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Chunk).decode


class _Task(msgspec.Struct):
    """What the other process is told on its standard input."""

    path: str
    cursors: dict[str, Cursor]


def read_ahead(path: Path, cursors: Mapping[str, Cursor]) -> Generator[Chunk]:
    """
    Yield the chunks after some cursors, read and decoded by another process.

    Args:
        path: The database.
        cursors: Where to begin, by table.
    """
    task = msgspec.json.encode(_Task(str(path), dict(cursors)))
    process = subprocess.Popen(  # noqa: S603  # our own module, no shell
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:  # waits for it, and closes its pipes
        if process.stdin is None or process.stdout is None:
            return
        try:
            process.stdin.write(task + b"\n")
            process.stdin.flush()
            while length := int.from_bytes(process.stdout.read(_LENGTH_BYTES)):
                yield _decode(process.stdout.read(length))
        except (BrokenPipeError, msgspec.DecodeError):
            log.debug("reader ended early, going on without it")
        finally:
            process.kill()


def main(given: BinaryIO, out: BinaryIO) -> None:
    """Read a source to its end; the body of the other process."""
    task = msgspec.json.decode(given.readline(), type=_Task)
    # Our reader may end first, and a source that fails is met again by it.
    with contextlib.suppress(BrokenPipeError, SourceError, KeyboardInterrupt):
        # Of the two processes this one can be lost, so it may map the file.
        with Source(Path(task.path), "").open(mapped_bytes=_MAPPED_BYTES) as reader:
            tailer = Tailer(SystemClock(), abandon_after_ms=0)
            for chunk in tailer.read(reader, task.cursors, ()):
                data = _encode(chunk)
                out.write(len(data).to_bytes(_LENGTH_BYTES) + data)
        out.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
