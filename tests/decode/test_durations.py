"""Claims about durations: they are written as in Prometheus."""

from __future__ import annotations

import pytest

from opencode_exporter.commands.flags.value_types import parse_duration
from opencode_exporter.errors import ConfigError

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("1h30m", HOUR_MS + 1_800_000),
        ("1m1ms", 60_001),
        ("1d", DAY_MS),
        ("1w", 7 * DAY_MS),
        ("1y", 365 * DAY_MS),
        ("1d12h", 36 * HOUR_MS),
        ("1y2w3d4h5m6s7ms", (365 + 14 + 3) * DAY_MS + 4 * HOUR_MS + 306_007),
        ("292y", 292 * 365 * DAY_MS),
    ],
)
def test_units_are_those_of_prometheus(text: str, ms: int) -> None:
    """A year of 365 days and a week are units too, and the larger ones come first."""
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text", ["", "5", "1h1d", "1d 12h", "1.5h", "-1d", "1M", "0s", "\u0661d", "d"]
)
def test_what_prometheus_refuses_is_refused(text: str) -> None:
    """Another order, spaces, fractions and bare numbers are told with what to write."""
    with pytest.raises(ConfigError, match="is not a duration: write for example 90s, 6h, 1d12h"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["293y", "9999999999999999999d"])
def test_longer_than_prometheus_can_count_is_refused(text: str) -> None:
    """An interval of a million years ended in a traceback of the timer."""
    with pytest.raises(ConfigError, match="is too long"):
        parse_duration(text)
