"""
Types of flags: how a text becomes a value, and the sentence about one that cannot.

Knows no flag and no command.
"""

from __future__ import annotations

import math
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from opencode_exporter import catalog as c
from opencode_exporter.clock import SystemClock
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.filters import parse_pattern
from opencode_exporter.source.locate import expanded

_LABEL_NAME: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST_STEP_MS: Final = 31 * 86_400_000
_TAKEN: Final = {"le"}.union(*(metric.labels for metric in c.METRICS))
_DURATION: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_DURATION_LENGTH: Final = 40
_DAY_MS: Final = 86_400_000
_UNITS_MS: Final = {
    "y": 365 * _DAY_MS,
    "w": 7 * _DAY_MS,
    "d": _DAY_MS,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_LONGEST_MS: Final = (1 << 63) // 1_000_000  # 292 years: Prometheus counts nanoseconds


def parse_duration(text: str) -> int:
    """
    Return milliseconds of a duration in Prometheus' grammar: 90s, 6h, 1d12h, 2w, 1y.

    Raises:
        ConfigError: It is not one, zero, or longer than Prometheus takes.
    """
    found = _DURATION.fullmatch(text) if len(text) <= _DURATION_LENGTH else None
    counts = found.groups() if found else ()
    total = sum(int(n) * unit for n, unit in zip(counts, _UNITS_MS.values(), strict=False) if n)
    if not total:
        raise ConfigError(
            f"{text!r} is not a duration", hint="write for example 90s, 6h, 1d12h or 2w"
        )
    if total > _LONGEST_MS:
        raise ConfigError(f"{text!r} is too long", hint="write a duration of at most 292y")
    return total


def duration_text(ms: int) -> str:
    """Return a duration as a flag would be given it, in the largest units that hold it."""
    text = ""
    for unit, size in _UNITS_MS.items():
        count, ms = divmod(ms, size)
        text += f"{count}{unit}" if count else ""
    return text


class Duration(click.ParamType[int]):
    """Milliseconds, from 90s, 6h, 1d12h or 2w."""

    name = "duration"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the value of a flag's text."""
        if isinstance(value, int):
            return value
        try:
            return parse_duration(value)
        except ConfigError as err:
            self.fail(str(err), param, ctx)


class Since(click.ParamType[int]):
    """Unix milliseconds, from how long ago or a date or time of this machine's zone."""

    name = "duration|date"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the value of a flag's text."""
        if isinstance(value, int):
            return value
        try:
            return max(1, SystemClock().now_ms() - parse_duration(value))
        except ConfigError:
            pass
        try:
            return max(1, round(datetime.fromisoformat(value).astimezone().timestamp() * 1000))
        except (ValueError, OverflowError, OSError):
            hint = "write for example 7d, 24h or 2026-11-01"
            self.fail(f"{value!r} is neither a duration nor a date: {hint}", param, ctx)


class Label(click.ParamType[tuple[str, str]]):
    """A label with its value, as name=value."""

    name = "name=value"

    def convert(
        self,
        value: str | tuple[str, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return the value of a flag's text."""
        if isinstance(value, tuple):
            return value
        name, _, text = value.partition("=")
        if not _LABEL_NAME.fullmatch(name) or not text.isprintable() or not text:
            self.fail(f"{value!r} is no label: write for example job=opencode", param, ctx)
        if name in _TAKEN:
            self.fail(f"{name!r} is a label of the metrics themselves", param, ctx)
        return name, text


def whole_seconds(ctx: click.Context, param: click.Parameter, given_ms: int) -> int:
    """Return a step, ms; it has to be whole seconds, at most 31 days."""
    if given_ms % 1000 or given_ms > _LONGEST_STEP_MS:
        raise click.BadParameter("write whole seconds, up to 31d", ctx, param)
    return given_ms


def labels_of_a_scrape(
    ctx: click.Context, param: click.Parameter, given: tuple[tuple[str, str], ...]
) -> dict[str, str]:
    """Return labels by name; ``job`` and ``instance``, which every scrape adds, are required."""
    labels = dict(given)
    if len(labels) < len(given):
        raise click.BadParameter("a label is given twice", ctx, param)
    for name, meaning in (("job", "the job_name of its scrape"), ("instance", "its target")):
        if name not in labels:
            raise click.BadParameter(f"{name} is missing: {meaning} in Prometheus", ctx, param)
    return labels


class Pattern(click.ParamType["re.Pattern[str] | None"]):
    """A regular expression of names."""

    name = "regex"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> re.Pattern[str] | None:
        """Return the value of a flag's text."""
        try:
            return parse_pattern(value)
        except ConfigError as err:
            self.fail(str(err), param, ctx)


class UserPath(click.Path):
    """A path, with the user's home for its tilde, also where no shell has put it there."""

    def __init__(self, **more: Any) -> None:
        super().__init__(path_type=Path, **more)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path of a flag's text."""
        try:
            path = expanded(value)
        except ConfigError as err:
            self.fail(str(err), param, ctx)
        return Path(os.fsdecode(super().convert(path, param, ctx)))


def named_file(ctx: click.Context, param: click.Parameter, given: Path) -> Path:
    """Return the path of a file; an empty one is refused."""
    if not given.name:
        raise click.BadParameter("name a file", ctx, param)
    return given


class Number(click.FloatRange):
    """A number within bounds; "nan", which compares with nothing, is refused."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return what a flag says."""
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number", param, ctx)
        return found
