"""
Label limits: which names are real, and how many of them may become series.

A slot, once given, is kept (the ledger stores the names in order), so a series
never moves to ``_other`` after it has been seen.  Nothing here touches a disk.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from opencode_exporter.catalog import Metric
from opencode_exporter.events import OVERFLOW, UNKNOWN

_RESERVED: Final = (UNKNOWN, OVERFLOW)
_PLACE: Final = " at 0"
"""Ends the label under which a name is noted that holds no slot yet."""
_LIMITS: Final = {"tool": 100, "skill": 100}
_OTHER_LIMIT: Final = 50
OPEN_LABELS: Final = frozenset(
    {
        *("tool", "skill", "from_skill", "to_skill", "agent", "project", "program"),
        *("provider", "model", "finish", "error", "path"),
    }
)
"""Labels whose values come from the source; all others have a fixed set."""
_OVERFLOW_SERIES: Final = 10  # the most that overflow makes: trigger by status
MAX_LENGTH: Final = 128
"""Characters of a label value; a longer name is cut."""
_UNBROKEN_SPACES: Final = "\u00a0\u2007\u202f"


def limit_of(label: str) -> int:
    """Return how many distinct values a label may show, the reserved ones included."""
    return _LIMITS.get(label, _OTHER_LIMIT)


class Slots:
    """
    Names that hold a slot, by label, in the order in which they came.

    A name that is shown at 0 before anything is counted for it has a place as well, which
    becomes its slot then.  Places are noted under a label of their own.
    """

    def __init__(self, names: Iterable[tuple[str, str]] = ()) -> None:
        self._names: dict[str, dict[str, None]] = {}
        self._places: dict[str, dict[str, None]] = {}
        self._new: list[tuple[str, str]] = []  # that are not on disk yet
        for label, name in names:
            if label.endswith(_PLACE):
                self._places.setdefault(label.removesuffix(_PLACE), {})[name] = None
            else:
                self._take(label, name)

    def _take(self, label: str, name: str) -> None:
        self._names.setdefault(label, {})[name] = None
        self._places.get(label, {}).pop(name, None)

    def given(self) -> list[tuple[str, str]]:
        """Return the slots and places that were given since the last time."""
        given, self._new = self._new, []
        return given

    def names(self, label: str) -> tuple[str, ...]:
        """Return the names that hold a slot."""
        return tuple(self._names.get(label, ()))

    def places(self, label: str) -> tuple[str, ...]:
        """Return the names that are shown at 0, and hold none yet."""
        return tuple(self._places.get(label, ()))

    def holds(self, label: str, name: str) -> bool:
        """Return whether the name has a slot."""
        return name in self._names.get(label, ())

    def take(self, label: str, name: str) -> str:
        """Return the name if it has, or gets, a slot; else ``_other``."""
        if name in _RESERVED or self.holds(label, name):
            return name
        if name not in self._places.get(label, ()) and self._is_full(label):
            return OVERFLOW
        self._take(label, name)
        self._new.append((label, name))
        return name

    def keep(self, label: str, names: Iterable[str]) -> None:
        """Give names that are known beforehand a place, as long as there is room."""
        places = self._places.setdefault(label, {})
        for name in names:
            if name in _RESERVED or name in places or self.holds(label, name):
                continue
            if self._is_full(label):
                break
            places[name] = None
            self._new.append((label + _PLACE, name))

    def _is_full(self, label: str) -> bool:
        held = len(self._names.get(label, ())) + len(self._places.get(label, ()))
        return held >= limit_of(label) - len(_RESERVED)


def clean(name: str) -> str:
    """
    Return a name fit for a label: bounded, never empty, nothing that cannot be seen.

    What has no width and spaces that do not break are dropped: people copy them
    along without knowing, and could not type the label in a query.  Other spaces
    become plain ones, and control characters a question mark.
    """
    if name.isprintable() and 0 < len(name) <= MAX_LENGTH:
        return name
    return "".join(map(_visible, name[:MAX_LENGTH])) or UNKNOWN


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    category = unicodedata.category(char)
    if category == "Cf" or char in _UNBROKEN_SPACES:
        return ""
    return " " if category == "Zs" else "?"


def within_limit(
    metric: Metric, labels: tuple[str, ...], count: int, limit: int
) -> tuple[str, ...]:
    """
    Return the labels of a new series, or their overflow where the metric is full.

    Only labels with open sets give way; statuses and the like stay, so that the
    sums over them still agree.

    Args:
        metric: The metric.
        labels: The labels of a series that it does not have yet.
        count: How many series it has.
        limit: How many it may have.
    """
    if count < limit - _OVERFLOW_SERIES:
        return labels
    return tuple(
        OVERFLOW if name in OPEN_LABELS else value
        for name, value in zip(metric.labels, labels, strict=True)
    )
