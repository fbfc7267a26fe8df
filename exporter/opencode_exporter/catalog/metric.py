"""
The metric: what the catalogue says of each.

Knows no metric; the catalogue's modules declare them, by group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Group = Literal["skills", "tools", "edits", "sessions", "source", "self"]

DURATION_BUCKETS: Final = tuple(0.01 * 2**i for i in range(19))
"""Seconds, 0.01 doubling to 2621.44."""
GEN_AI_BUCKETS: Final = DURATION_BUCKETS[:14]
"""Seconds, 0.01 doubling to 81.92: what the GenAI convention recommends for its durations."""
STRETCH_BUCKETS: Final = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
"""Seconds, of turns and skill runs."""
ATTEMPT_BUCKETS: Final = (1, 2, 3, 5, 8, 13)
SESSION_CALL_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
COST_SCALE: Final = 10**10
"""Of the ledger's integers, what makes a US dollar."""
POLL_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True)
class Metric:
    """
    One metric under both of its names.

    ``scale`` is how many of the ledger's integers make one of the metric's unit
    (1000 where the ledger keeps milliseconds), so that sums stay exact.
    ``merge`` says how a new value meets the one in the ledger.
    ``example`` is a query of Prometheus.
    ``attributes`` are the names of the labels over OTLP: their own, unless a convention
    has others; one without a value is left out there.
    ``only_otlp`` metrics are not on the page: they say in a convention's words what
    others say in ours.
    """

    group: Group
    name: str
    kind: Kind
    help: str
    otlp: str
    otlp_unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    scale: int = 1
    merge: Literal["add", "min", "max"] = "add"
    example: str = ""
    attributes: tuple[str, ...] = ()
    only_otlp: bool = False

    def __post_init__(self) -> None:
        """Name the attributes as the labels, unless they have names of their own."""
        if not self.attributes:
            object.__setattr__(self, "attributes", self.labels)

    @property
    def family(self) -> str:
        """The name without the suffix that the text formats add to counters."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name

    @property
    def waits_for_baseline(self) -> bool:
        """Whether it stays hidden until the history has been counted (metrics that count)."""
        return self.group not in ("source", "self")
