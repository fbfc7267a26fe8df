"""
The truth: which calls ended how, as the writers say, kills or no kills.

Each transaction on the database carries a number (`PRAGMA user_version`), and
before it is committed a line with that number is in the journal: the number
that stood there before, and what the transaction ends.  Whether a line was
committed shows in the next one, or in the database; so a writer may be killed
between any two instructions and the truth stays exact.  Knows nothing of rows.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

COPY: Final = "copy"
"""Status of what must never be counted: an open call's copy in a fork."""
_TIMED: Final = ("completed", "error")


class Fact(NamedTuple):
    """The end of one call; without a tool, of a skill that the user invoked."""

    message: str
    call: str
    tool: str
    status: str
    ms: int = -1
    skill: str = ""


class Line(NamedTuple):
    """One transaction."""

    number: int
    after: int
    facts: list[Fact]


class Journal:
    """The journal as writers see it; hold the turn while using it."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def next(self) -> int:
        """Return the number of the next line: where it begins."""
        size = os.fstat(self._handle).st_size
        if not size or os.pread(self._handle, 1, size - 1) != b"\n":
            # The last writer died in the middle of a line, or there was none.
            size += os.write(self._handle, b"\n")
        return size

    def note(self, line: Line) -> None:
        """Write a line; a killed process leaves what it has written."""
        os.write(self._handle, json.dumps(line, separators=(",", ":")).encode() + b"\n")


class Counts:
    """Calls that ended, by what is exposed of them."""

    def __init__(self) -> None:
        self.tools: Counter[tuple[str, ...]] = Counter()
        self.skills: Counter[tuple[str, ...]] = Counter()
        self.timed: Counter[tuple[str, ...]] = Counter()
        self.ms: Counter[tuple[str, ...]] = Counter()

    def copy(self) -> Counts:
        """Return counts that go their own way from here."""
        new = Counts()
        for mine, others in zip(vars(self).values(), vars(new).values(), strict=True):
            others.update(mine)
        return new

    def add(self, fact: Fact) -> None:
        """Count an end."""
        if fact.skill:
            self.skills[fact.skill, fact.status] += 1
        if not fact.tool:
            return
        self.tools[fact.tool, fact.status] += 1
        if fact.status in _TIMED and fact.ms >= 0:
            self.timed[fact.tool, fact.status] += 1
            self.ms[fact.tool, fact.status] += fact.ms


class Truth:
    """
    What the journal says so far.

    Attributes:
        counts: Of all transactions that are known to have been committed.
        operations: How many those are.
        lost: How many never were, as their writer was killed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._settled: set[tuple[str, str]] = set()
        self._last: Line | None = None
        self.counts = Counts()
        self.operations = 0
        self.lost = 0

    def follow(self) -> None:
        """Read on."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for raw in whole.splitlines():
            try:
                number, after, facts = json.loads(raw)
            except ValueError:
                continue  # its writer was killed in the middle of it, so before the commit
            self.resolve(after)
            self._last = Line(number, after, [Fact(*fact) for fact in facts])

    def resolve(self, number: int) -> None:
        """Learn which transaction was the last to be committed."""
        last, self._last = self._last, None
        if last is None:
            return
        if last.number != number:
            self.lost += 1
            return
        self.operations += 1
        for fact in self._news(last):
            self._settled.add((fact.message, fact.call))
            if fact.status != COPY:
                self.counts.add(fact)

    def _news(self, line: Line) -> list[Fact]:
        """Return the facts that are the first about their call: that verdict is final."""
        first: dict[tuple[str, str], Fact] = {}
        for fact in line.facts:
            first.setdefault((fact.message, fact.call), fact)
        return [fact for name, fact in first.items() if name not in self._settled]

    def at_most(self) -> Counts:
        """Return the counts if the last transaction is committed already."""
        counts = self.counts.copy()
        if self._last:
            for fact in self._news(self._last):
                if fact.status != COPY:
                    counts.add(fact)
        return counts

    @property
    def settled(self) -> int:
        """How many calls have a verdict."""
        return len(self._settled)

    @property
    def decided(self) -> int:
        """The number before which every transaction is known to be committed or lost."""
        return self._last.number if self._last else self._read
