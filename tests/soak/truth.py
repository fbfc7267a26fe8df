"""
The truth: which calls and steps ended how, as the writers say, kills or no kills.

Each transaction on the database carries a number (`PRAGMA user_version`), and
before it is committed a line with that number is in the journal: the number
that stood there before, and what the transaction ends.  Whether a line was
committed shows in the next one, or in the database; so a writer may be killed
between any two instructions and the truth stays exact.  Knows nothing of rows.

What only time decides has bounds: a call that a later step shows to be left, and what
is written into rows that have been given up and are looked at now and then.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from soak import vocabulary

COPY: Final = "copy"
"""Status of what must never be counted: an open call's copy in a fork."""
DOUBT: Final = "doubt"
"""Status of an open call that may be counted as abandoned from a moment on (``ms``)."""
ALIVE: Final = "alive"
"""Status of such a call when its row has changed after all."""
STEP: Final = "\0step"
"""In place of a call's id: its step is over; ``status`` is its word, ``ms`` its tokens."""
JUNK: Final = "junk"
"""Status of a row that cannot be decoded."""
_LOOKED_AT_MS: Final = 130_000
"""After this time even rows that were given up have been looked at."""
_TIMED: Final = ("completed", "error")


class Fact(NamedTuple):
    """The end of one call; without a tool, of a skill that the user invoked."""

    message: str
    call: str
    tool: str
    status: str
    ms: int = -1
    skill: str = ""
    is_delayed: bool = False  # written into a row that may have been given up


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
    """Calls and steps that ended, by what is exposed of them."""

    def __init__(self) -> None:
        self.tools: Counter[tuple[str, ...]] = Counter()
        self.skills: Counter[tuple[str, ...]] = Counter()
        self.timed: Counter[tuple[str, ...]] = Counter()
        self.ms: Counter[tuple[str, ...]] = Counter()
        self.steps: Counter[tuple[str, ...]] = Counter()
        self.tokens: Counter[tuple[str, ...]] = Counter()
        self.late: Counter[tuple[str, ...]] = Counter()
        self.junk: Counter[tuple[str, ...]] = Counter()

    def copy(self) -> Counts:
        """Return counts that go their own way from here."""
        new = Counts()
        for mine, others in zip(vars(self).values(), vars(new).values(), strict=True):
            others.update(mine)
        return new

    def add(self, fact: Fact) -> None:
        """Count an end."""
        if fact.status == JUNK:
            self.junk[()] += 1
            return
        if fact.call == STEP:
            self.steps[fact.status,] += 1
            self.tokens["input",] += fact.ms
            return
        if fact.skill:
            self.skills[fact.skill, fact.status] += 1
        if not fact.tool:
            return
        self.tools[vocabulary.told(fact.tool, fact.status)] += 1
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
        self._settled: dict[tuple[str, str], str] = {}
        self._doubts: dict[tuple[str, str], Fact] = {}
        self._delayed: list[tuple[float, Fact]] = []
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
        self._late(last, self.counts)
        for fact in self._news(last):
            name = (fact.message, fact.call)
            self._settled[name] = fact.status
            self._doubts.pop(name, None)
            if fact.is_delayed:
                self._delayed.append((time.time() * 1000 + _LOOKED_AT_MS, fact))
            elif fact.status != COPY:
                self.counts.add(fact)
        self._doubt(last)

    def _doubt(self, line: Line) -> None:
        """Note which calls may be given up as time passes, and which are alive again."""
        for fact in line.facts:
            name = (fact.message, fact.call)
            if fact.status == ALIVE:
                self._doubts.pop(name, None)
            elif fact.status == DOUBT and name not in self._settled:
                # The first moment counts: a row may be spoiled while a step grows old.
                known = self._doubts.get(name, fact)
                self._doubts[name] = min(known, fact, key=lambda one: one.ms)

    def _late(self, line: Line, counts: Counts) -> None:
        """Count ends of calls that had been given up."""
        for fact in line.facts:
            known = self._settled.get((fact.message, fact.call))
            if known == "abandoned" and fact.status not in (COPY, DOUBT, ALIVE, "abandoned"):
                counts.late[fact.status,] += 1

    def _news(self, line: Line) -> list[Fact]:
        """Return the facts that are the first about their call: that verdict is final."""
        first: dict[tuple[str, str], Fact] = {}
        for fact in line.facts:
            if fact.status not in (DOUBT, ALIVE):
                first.setdefault((fact.message, fact.call), fact)
        return [fact for name, fact in first.items() if name not in self._settled]

    def at_least(self) -> Counts:
        """Return what must have been counted by now."""
        now = time.time() * 1000
        for _, fact in [one for one in self._delayed if one[0] <= now]:
            self.counts.add(fact)
        self._delayed = [one for one in self._delayed if one[0] > now]
        return self.counts.copy()

    def at_most(self) -> Counts:
        """Return the counts if the last transaction is committed already."""
        counts = self.counts.copy()
        for _, fact in self._delayed:
            counts.add(fact)
        for fact in self._doubts.values():
            if fact.ms <= time.time() * 1000 + 1000:
                counts.add(fact._replace(status="abandoned", ms=-1))
        if self._last:
            self._late(self._last, counts)
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
