"""
PromQL of the dashboards, put together from the catalogue's metrics.

A selector always names job and instance, and filters by every variable that the
metric has a label for: nobody writes these by hand, so no panel forgets one.
Knows no panels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from opencode_exporter import catalog as c

IDENTITY: Final = 'job=~"$job", instance=~"$instance"'
FILTERS: Final = ("project", "agent")
"""Labels that every dashboard has a variable of the same name for."""

ENDED: Final = "completed|error"
"""Statuses that say something about the tool; what people stopped or refused does not."""


Count = Callable[..., str]
"""How a counter is counted: `total`, `in_range`, `ever` or `rate`."""


def pick(metric: c.Metric, *matchers: str, suffix: str = "", filtered: bool = True) -> str:
    """
    Return the selector of a metric's series.

    Args:
        metric: of the catalogue.
        *matchers: more of them, such as ``status="error"``.
        suffix: ``_bucket``, ``_sum`` or ``_count`` of a histogram.
        filtered: whether the dashboard's variables project and agent apply.

    """
    own = [f'{label}=~"${label}"' for label in FILTERS if filtered and label in metric.labels]
    return f"{metric.name}{suffix}{{{', '.join((IDENTITY, *own, *matchers))}}}"


def by(labels: Iterable[str], expression: str) -> str:
    """Return the sum of an expression, split by labels if there are any."""
    split = ", ".join(labels)
    return f"sum by ({split}) ({expression})" if split else f"sum({expression})"


def total(metric: c.Metric, labels: Iterable[str], *matchers: str, suffix: str = "") -> str:
    """Return how much a counter counted: in the time range, or ever, as `$over` says."""
    return by(labels, f"$over({pick(metric, *matchers, suffix=suffix)}[$__range])")


def in_range(metric: c.Metric, labels: Iterable[str], *matchers: str, suffix: str = "") -> str:
    """Return how much a counter counted in the time range."""
    return by(labels, f"increase({pick(metric, *matchers, suffix=suffix)}[$__range])")


def ever(metric: c.Metric, labels: Iterable[str], *matchers: str, suffix: str = "") -> str:
    """Return how much a counter has counted since the beginning, history included."""
    return by(labels, pick(metric, *matchers, suffix=suffix))


def rate(metric: c.Metric, labels: Iterable[str], *matchers: str, suffix: str = "") -> str:
    """Return how fast a counter counts, per second."""
    return by(labels, f"rate({pick(metric, *matchers, suffix=suffix)}[$__rate_interval])")


def spans(expression: Callable[[Count], str]) -> dict[str, str]:
    """Return an expression counted over the time range and over all history, by legend."""
    return {"in this range": expression(in_range), "since the beginning": expression(ever)}


def share(part: str, whole: str) -> str:
    """Return a part's share of the whole, 0 where there is no part; nothing without a whole."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def failure_rate(
    metric: c.Metric, labels: Iterable[str], *matchers: str, count: Count = total
) -> str:
    """Return failed of completed and failed invocations, 0 to 1."""
    labels = tuple(labels)
    whole = count(metric, labels, *matchers, f'status=~"{ENDED}"')
    return share(count(metric, labels, *matchers, 'status="error"'), whole)


def success_rate(
    metric: c.Metric, labels: Iterable[str], *matchers: str, count: Count = total
) -> str:
    """Return succeeded of succeeded and failed turns or runs, 0 to 1."""
    labels = tuple(labels)
    whole = count(metric, labels, *matchers, 'outcome=~"succeeded|failed"')
    return share(count(metric, labels, *matchers, 'outcome="succeeded"'), whole)


def quantile(
    q: float, metric: c.Metric, labels: Iterable[str], *matchers: str, count: Count = total
) -> str:
    """Return a quantile of a histogram, estimated from its buckets; nothing where it is empty."""
    labels = tuple(labels)
    buckets = count(metric, (*labels, "le"), *matchers, suffix="_bucket")
    observed = count(metric, labels, *matchers, suffix="_count")
    return f"histogram_quantile({q}, {buckets}) and {observed} > 0"


def mean(metric: c.Metric, labels: Iterable[str], *matchers: str, count: Count = total) -> str:
    """Return the mean of what a histogram observed; nothing where it is empty."""
    labels = tuple(labels)
    observed = count(metric, labels, *matchers, suffix="_count")
    return f"{count(metric, labels, *matchers, suffix='_sum')} / ({observed} > 0)"


def top(count: int, expression: str) -> str:
    """Return the largest values that are not 0, largest first."""
    return f"sort_desc(topk({count}, {expression} > 0))"
