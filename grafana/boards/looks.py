"""
Colours, thresholds and units: what a value means at a glance.

The same status has the same colour on every dashboard. Names are Grafana's own,
which it draws differently on a dark and on a light page. Knows no metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import dashboard as d

Steps = Mapping[float, str]
"""Colour of a value from each of these values on; the first holds below it, too."""

GOOD, FAIR, BAD, WORST = "green", "dark-yellow", "orange", "red"
CALM: Final = "blue"

MEANING: Final = {
    "status": {
        "completed": "green",
        "error": "red",
        "denied": "orange",
        "aborted": "blue",
        "abandoned": "purple",
    },
    "outcome": {
        "succeeded": "green",
        "failed": "red",
        "interrupted": "blue",
        "abandoned": "purple",
    },
    "exit": {
        "zero": "green",
        "nonzero": "red",
        "timeout": "orange",
        "killed": "blue",
        "unknown": "purple",
    },
    "token_type": {
        "input": "blue",
        "output": "orange",
        "reasoning": "purple",
        "cache_read": "green",
        "cache_write": "yellow",
    },
    "change": {"added": "green", "removed": "red"},
    "result": {"ok": "green", "error": "red"},
}
"""Colours of the values of labels that say how something went, or what it was."""

FAILURES: Final[Steps] = {0: GOOD, 0.05: FAIR, 0.15: BAD, 0.3: WORST}
SUCCESSES: Final[Steps] = {0: WORST, 0.7: BAD, 0.85: FAIR, 0.95: GOOD}
NEUTRAL: Final[Steps] = {0: CALM}
NONE_IS_GOOD: Final[Steps] = {0: GOOD, 1: BAD}
ONE_IS_GOOD: Final[Steps] = {0: WORST, 1: GOOD}

PER_MINUTE: Final = "suffix:/min"
PER_HOUR: Final = "suffix:/h"
COUNT: Final = "locale"
LARGE: Final = "short"
SHARE: Final = "percentunit"


def thresholds(steps: Steps) -> ThresholdsConfig:
    """Return the thresholds of Grafana for these steps."""
    (_, base), *rest = steps.items()
    models = [d.Threshold(color=base, value=None)]
    models += [d.Threshold(color=color, value=value) for value, color in rest]
    return ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(models)


def coloured(mode: d.FieldColorModeId) -> FieldColor:
    """Return how a field gets its colour."""
    return FieldColor().mode(mode)


def words(meanings: dict[str, tuple[str, str]]) -> list[d.ValueMapping]:
    """Return mappings of values to words and their colours."""
    results = {
        value: d.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(meanings.items())
    }
    return [d.ValueMap(options=results)]


def blank() -> d.ValueMapping:
    """Return the mapping by which a cell without a value stays empty."""
    result = d.ValueMappingResult(text="-", color="transparent")
    options = d.DashboardSpecialValueMapOptions(match=d.SpecialValueMatch.NULL, result=result)
    return d.SpecialValueMap(options=options)
