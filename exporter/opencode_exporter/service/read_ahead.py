"""
Reading ahead: a long first read in processes of its own, while we count.

Reading and decoding a million rows takes longer than counting them, so two
processes read in turns and we take in what they bring, in the order of the rows;
of a source that was never read they bring sums of most events, as summaries.
Only an accelerator: whatever it does not bring, for whatever reason, the tailer
reads after it from where the ledger's cursors are.  A failure here loses nothing
and is not even an error.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import IO, BinaryIO, Final, NamedTuple, cast

import apsw
import msgspec

from opencode_exporter.chunk import DENSE, Anchor, Chunk
from opencode_exporter.clock import Patience, SystemClock
from opencode_exporter.counting.summary import Summarizer, Summary, SummedChunk
from opencode_exporter.errors import SourceError
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.source.opencode.stretches import Range, Stretch, is_there
from opencode_exporter.source.opencode.tables import tables
from opencode_exporter.source.opencode.tables.table import Table, Taken, together
from opencode_exporter.source.opencode.tailer import CHUNK_ROWS, Tailer

log = logging.getLogger(__name__)

WORTH_IT_ROWS: Final = 50_000
"""Rows from which other processes save more than their start costs (0.2 s)."""

_READERS: Final = 2  # each takes about 20 MB
_WINDOW_ROWS: Final = CHUNK_ROWS
_WEIGHT: Final = {"message": 4, "session_message": 4}
"""How many of other rows one of these is like: it comes with its calls."""
_SUMMED: Final = 16 * CHUNK_ROWS
"""The weight of the events of one summary: more than those of any window of most sources."""
_PIPE_BYTES: Final = 1 << 20  # some windows, so that nobody waits for the other's turn
_LENGTH_BYTES: Final = 4
_NICE: Final = 5  # OpenCode goes first


class _Summed(NamedTuple):
    """What a reader sends of a source that was never read; of any other it is `Taken`."""

    summary: Summary
    taken: Taken  # what is not in it


_encode = msgspec.msgpack.Encoder().encode
_taken = msgspec.msgpack.Decoder(Taken).decode
_summed_taken = msgspec.msgpack.Decoder(_Summed).decode


Plan = Sequence[tuple[Stretch, Sequence[Range]]]
"""What is read: some stretches, and the windows of each, in their order."""


class _Task(msgspec.Struct):
    """What a reader is told on its standard input."""

    path: bytes  # it need not be UTF-8
    plan: Plan
    reader: int
    readers: int  # of which each reads in its turn
    with_paths: bool


def plan(reader: Reader, stretches: Iterable[Stretch]) -> Plan:
    """
    Return the windows by which some stretches are read, up to the first damaged page.

    We decide once: readers that looked for themselves could see different rows.  Rows
    that others bring have none: next to nothing is left of them to be read.
    """
    return [
        (stretch, [] if stretch.is_brought else [*_windows(reader, stretch)])
        for stretch in stretches
    ]


def rows_in(planned: Plan) -> int:
    """Return about how many rows the windows of a plan hold, with those that they bring."""
    return sum(
        window.rows * _WEIGHT.get(stretch.table, 1)
        for stretch, windows in planned
        for window in windows
    )


def read_ahead(
    reader: Reader,
    path: Path,
    planned: Plan,
    tailer: Tailer,
    is_new: Callable[[Summary], bool],
) -> Generator[Chunk]:
    """
    Yield the chunks of some stretches, in order, read and decoded by other processes.

    Ends early where rows were deleted meanwhile: their rowids may be others' now, and
    the next look at the cursor's anchors tells from where on.

    Args:
        reader: Our own connection to the database.
        path: The database.
        planned: What to read.
        tailer: Reads again, event by event, what cannot be counted as a summary.
        is_new: Says, with all chunks before taken in, whether a summary can.
    """
    tasks = [
        _Task(os.fsencode(path), planned, number, _READERS, tailer.with_paths)
        for number in range(_READERS)
    ]
    with contextlib.ExitStack() as running:
        try:
            pipes = [running.enter_context(_reader(task)) for task in tasks]
        except OSError as err:  # no process, no file or no pipe of that size for us
            log.warning("no reader processes, reading without them", extra={"err": str(err)})
            return
        try:
            stretches = [stretch for stretch, _ in planned]
            for stretch, windows in planned:
                if stretch.is_brought:
                    yield from tailer.read_alone(reader, stretches, stretch.table)
                elif not (yield from _chunks(reader, stretch, windows, pipes, tailer, is_new)):
                    return
        except (EOFError, msgspec.DecodeError):
            log.warning("reader process ended early, reading on without it")


def _chunks(
    reader: Reader,
    left: Stretch,
    windows: Iterable[Range],
    pipes: Sequence[IO[bytes]],
    tailer: Tailer,
    is_new: Callable[[Summary], bool],
) -> Generator[Chunk, None, bool]:
    """Yield the chunks of a stretch; return whether no deletion overtook it."""
    for pipe, _ in zip(cycle(pipes), windows, strict=False):  # in turns, a window each
        for summary, taken in _frames(pipe, summed=left.is_first):
            if not is_there(reader, left.table, left.after):
                return False
            found: Iterable[Taken] = [taken]
            if summary is not None and not is_new(summary):
                found = tailer.stretch(reader, left, taken.newest[-1].rowid)
            elif summary is not None:  # before what needs admission: that may be copied from it
                yield SummedChunk(taken.chunk.table, taken.chunk.kind, summary=summary)
            for one in found:
                chunks, left = left.after_reading(one)
                yield from chunks
    return True


def _windows(reader: Reader, stretch: Stretch) -> Iterator[Range]:
    """
    Yield windows of about as many rows each, and no rowid between them.

    A gap costs nothing, and is not left out: its rowids may be given again meanwhile.
    """
    if stretch.only is not None:
        yield from stretch.only
        return
    rows = max(1, _WINDOW_ROWS // _WEIGHT.get(stretch.table, 1))
    with contextlib.suppress(apsw.CorruptError):  # up to there: the tailer reads around it
        before = stretch.after.rowid
        first = _row_at(reader, stretch, before + 1)
        while first is not None:
            last = min(first + rows - 1, stretch.last)
            following = _row_at(reader, stretch, last + 1)
            if following is not None and following - last > rows:  # rows are few and far between
                end = _row_at(reader, stretch, first, skip=rows - 1)
                last = stretch.last if end is None else end
                following = _row_at(reader, stretch, last + 1)
            yield Range(before + 1, last, min(rows, last - first + 1))
            before, first = last, following


def _row_at(reader: Reader, stretch: Stretch, first: int, skip: int = 0) -> int | None:
    """Return the first rowid of a stretch from one on that is a row's, or one some rows later."""
    if first > stretch.last:
        return None
    sql = (
        f"SELECT rowid FROM {stretch.table} WHERE rowid >= ? AND rowid <= ? "
        "ORDER BY rowid LIMIT 1 OFFSET ?"
    )
    row = reader.query(sql, (first, stretch.last, skip)).fetchone()
    return int(row[0]) if row else None


@contextlib.contextmanager
def _reader(task: _Task) -> Iterator[IO[bytes]]:
    """Start a reader, and yield what it writes."""
    process = subprocess.Popen(  # noqa: S603  # our own module, no shell
        [sys.executable, "-P", "-m", __name__],  # -P: nothing from where the user stands
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pipesize=_PIPE_BYTES,
    )
    given, out = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    with process:  # waits for it, and closes its pipes
        try:
            with contextlib.suppress(BrokenPipeError):
                given.write(msgspec.json.encode(task) + b"\n")
                given.flush()
            yield out
        finally:
            process.kill()


def _frames(pipe: IO[bytes], *, summed: bool) -> Iterator[tuple[Summary | None, Taken]]:
    """Yield what a reader found in one window, which an empty frame ends."""
    while True:
        head = pipe.read(_LENGTH_BYTES)
        if len(head) < _LENGTH_BYTES:
            raise EOFError
        length = int.from_bytes(head)
        if not length:
            return
        data = pipe.read(length)
        yield _summed_taken(data) if summed else (None, _taken(data))


def main(given: BinaryIO, out: BinaryIO) -> None:
    """Read some windows of a source in their turn; the body of a reader."""
    task = msgspec.json.decode(given.readline(), type=_Task)
    os.nice(_NICE)
    gc.disable()  # nothing here goes in circles, and a reader ends soon
    clock = SystemClock()
    tailer = Tailer(clock, Patience(clock, 0))
    # Whoever started us may end first, and meets a failing source again by itself.
    with (
        contextlib.suppress(BrokenPipeError, SourceError, KeyboardInterrupt),
        Source(Path(os.fsdecode(task.path)), "").open() as reader,
    ):
        by_name = {table.name: table for table in tables(reader, clock, with_paths=task.with_paths)}
        cursors = {stretch.table: stretch.cursor for stretch, _ in task.plan}
        for stretch, windows in task.plan:
            table = by_name[stretch.table]
            if windows:
                table.look_ahead(cursors)
            for window in windows[task.reader :: task.readers]:
                after = Anchor(window.first - 1, "")
                found = _verified(reader, tailer.between(reader, table, after, window.last))
                for taken in _summed(table, found) if stretch.is_first else found:
                    data = _encode(taken)
                    out.write(len(data).to_bytes(_LENGTH_BYTES) + data)
                out.write(bytes(_LENGTH_BYTES))
                out.flush()


def _verified(reader: Reader, found: Iterable[Taken]) -> Iterator[Taken]:
    for taken in found:
        reader.verify()
        yield taken


def _summed(table: Table, found: Iterator[Taken]) -> Iterator[_Summed]:
    """Yield all chunks as one with its plain events as a summary; as several if they are many."""
    while True:
        summarizer = Summarizer(table.kind.origin)
        whole, newest, held = Chunk(table.name, table.kind), list[Anchor](), 0
        calls: Chunk | None = None
        for taken in found:
            held += taken.weight
            for chunk in taken.chunks(taken.chunk):
                chunk.events = summarizer.take(chunk.events)
            whole.extend(taken.chunk)
            calls = together(calls, taken.calls)
            newest = [*newest, *taken.newest][-DENSE:]
            if held >= _SUMMED:
                break
        if not newest:
            return
        summary, rows = summarizer.summary()
        whole.events += rows
        yield _Summed(summary, Taken(whole, newest, calls))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
