"""
The standard streams: always open, and a failure of one ends in a sentence.

A file that is opened where a standard stream was closed gets its number, and would be
printed into; so no number of theirs is ever free.  Knows nothing of the texts printed.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

from opencode_exporter.errors import ExporterError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_FLAGS: Final = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)
"""The modes of /dev/null in place of a closed stream: printing fails, logging is dropped."""


class OutputError(ExporterError):
    """The output of a command cannot be printed."""


def guard() -> None:
    """Make the standard streams safe; before anything is opened."""
    closed = set()
    for number, flags in enumerate(_FLAGS):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the one that is closed.  Children need it, too.
            os.set_inheritable(os.open(os.devnull, flags), True)
            closed.add(number)
    sys.stdout = _guarded(sys.stdout, 1, _refuse_closed if 1 in closed else _refuse)
    sys.stderr = _guarded(sys.stderr, 2, _drop)


def _guarded(stream: TextIO | None, number: int, failed: Callable[[OSError], None]) -> TextIO:
    """Return a stream over the same file that hands its first failure to a function."""
    if stream is None:
        raw = _Guarded(io.FileIO(number, "w", closefd=False), failed)
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace")
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # somebody else's, who knows what to do
    inner: Any = getattr(stream.buffer, "raw", stream.buffer)
    return io.TextIOWrapper(
        io.BufferedWriter(_Guarded(inner, failed)),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Guarded(io.RawIOBase):
    """A file whose writes succeed, and go nowhere, after one has failed."""

    def __init__(self, raw: io.RawIOBase, failed: Callable[[OSError], None]) -> None:
        super().__init__()
        self._raw = raw
        self._failed = failed
        self._is_over = False

    @property
    def name(self) -> object:
        """The name of the file."""
        return getattr(self._raw, "name", "")

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some bytes; wait where a pipe without blocking is full."""
        size = memoryview(data).nbytes
        while not self._is_over:
            try:
                written = self._raw.write(data)
            except OSError as err:
                # The buffer is flushed once more at the end, and must have somewhere to go.
                self._is_over = True
                self._failed(err)
            else:
                if written is not None:
                    return written
                select.select((), (self._raw,), ())
        return size


def _refuse(err: OSError) -> None:
    if isinstance(err, BrokenPipeError):
        raise err  # who reads has seen enough, and need not be told
    raise OutputError(
        f"standard output cannot be written ({err.strerror})",
        hint="free space, or let it go elsewhere",
    ) from err


def _refuse_closed(err: OSError) -> None:
    raise OutputError("standard output is closed", hint="let it go to a file or a pipe") from err


def _drop(_err: OSError) -> None:
    """Go on without a log: a server is not to end for it."""
