"""
Types of flags: what their texts mean, and what is said of those that mean nothing.

Knows no flag and no command.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from opencode_exporter import catalog as c
from opencode_exporter.clock import SystemClock
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.filters import parse_pattern
from opencode_exporter.service.settings import expanded, parse_duration

_LABEL_NAME: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST_STEP_MS: Final = 31 * 86_400_000
_TAKEN: Final = {"le"}.union(*(metric.labels for metric in c.METRICS))


class Duration(click.ParamType[int]):
    """Milliseconds, from 90s, 6h, 1d12h or 2w."""

    name = "duration"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return what a flag says."""
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
        """Return what a flag says."""
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
        """Return what a flag says."""
        if isinstance(value, tuple):
            return value
        name, _, text = value.partition("=")
        if not _LABEL_NAME.fullmatch(name) or not text.isprintable() or not text:
            self.fail(f"{value!r} is no label: write for example job=opencode", param, ctx)
        if name in _TAKEN:
            self.fail(f"{name!r} is a label of the metrics themselves", param, ctx)
        return name, text


def whole_seconds(ctx: click.Context, param: click.Parameter, given_ms: int) -> int:
    """Return a time between samples, ms, if it has a sense."""
    if given_ms % 1000 or given_ms > _LONGEST_STEP_MS:
        raise click.BadParameter("write whole seconds, up to 31d", ctx, param)
    return given_ms


def labels_of_a_scrape(
    ctx: click.Context, param: click.Parameter, given: tuple[tuple[str, str], ...]
) -> dict[str, str]:
    """Return labels by name; those that every scrape adds have to be there."""
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
        """Return what a flag says."""
        try:
            return parse_pattern(value)
        except ConfigError as err:
            self.fail(str(err), param, ctx)


def a_file(ctx: click.Context, param: click.Parameter, given: Path) -> Path:
    """Return the path of a file, with the user's home for a tilde."""
    if not given.name:
        raise click.BadParameter("name a file", ctx, param)
    try:
        return expanded(given)
    except ConfigError as err:
        raise click.BadParameter(str(err), ctx, param) from err


class Number(click.FloatRange):
    """A number within bounds, which what is no number is within, too, by its comparisons."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return what a flag says."""
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number", param, ctx)
        return found
