"""
Filters: which tools and skills are shown, by patterns that the user gives.

Patterns match whole names, as the exporters' grammar has it.  Knows the labels
that name a tool or a skill; nothing of metrics, and nothing is counted here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

from opencode_exporter.errors import ConfigError

T = TypeVar("T")
_KINDS: Final = {"tool": "tool", "skill": "skill", "from_skill": "skill", "to_skill": "skill"}
"""Labels that name something which may be left out, and what it is."""


def parse_pattern(text: str) -> re.Pattern[str] | None:
    """
    Return a regular expression, or None for an empty text, which is as good as none given.

    Raises:
        ConfigError: It is not one.
    """
    try:
        return re.compile(text) if text else None
    except (re.error, OverflowError, RecursionError) as err:
        raise ConfigError(
            f"{text!r} is not a regular expression ({err})",
            hint="write for example read|grep or github_.*",
        ) from err


@dataclass(frozen=True)
class NameFilter:
    """The names of one kind that are shown: all, or by a pattern."""

    include: re.Pattern[str] | None = None
    exclude: re.Pattern[str] | None = None

    def shows(self, name: str) -> bool:
        """Return whether a name is shown; a pattern has to match all of it."""
        if self.include is not None:
            return self.include.fullmatch(name) is not None
        return self.exclude is None or self.exclude.fullmatch(name) is None


@dataclass(frozen=True)
class Filters:
    """
    The filters of both kinds.

    Raises:
        ConfigError: One kind is told what to include and what to exclude.
    """

    tool: NameFilter = NameFilter()
    skill: NameFilter = NameFilter()

    def __post_init__(self) -> None:
        for kind in ("tool", "skill"):
            if self._of(kind).include is not None and self._of(kind).exclude is not None:
                raise ConfigError(
                    f"--{kind}.include and --{kind}.exclude exclude each other",
                    hint="give one of them; an empty one counts as not given",
                )

    def _of(self, kind: str) -> NameFilter:
        return self.tool if kind == "tool" else self.skill

    def shown(
        self, labels: tuple[str, ...], series: Mapping[tuple[str, ...], T]
    ) -> Mapping[tuple[str, ...], T]:
        """
        Return the series whose tool and skill labels pass the filters.

        Args:
            labels: The names of the metric's labels.
            series: Anything, by the values of these labels.
        """
        for at, label in enumerate(labels):
            names = self._of(_KINDS[label]) if label in _KINDS else NameFilter()
            if names != NameFilter():
                shows = cache(names.shows)  # a name has many series
                series = {values: value for values, value in series.items() if shows(values[at])}
        return series
