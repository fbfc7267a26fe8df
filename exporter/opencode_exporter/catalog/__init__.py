"""
The catalogue: every metric, declared once.

Exposition, the OTLP names, the reference in METRICS.md and the tests follow
from it.  A name here is a promise to users; it is neither renamed nor dropped.
"""

from __future__ import annotations

from typing import Final

from opencode_exporter.catalog.exporter import *  # noqa: F403
from opencode_exporter.catalog.metric import DURATION_BUCKETS as DURATION_BUCKETS
from opencode_exporter.catalog.metric import Metric as Metric  # re-exported
from opencode_exporter.catalog.sessions import *  # noqa: F403
from opencode_exporter.catalog.skills import *  # noqa: F403
from opencode_exporter.catalog.tools import *  # noqa: F403

_GROUPS: Final = ("skills", "tools", "edits", "sessions", "source", "self")
METRICS: Final = tuple(
    sorted(
        (value for value in list(vars().values()) if isinstance(value, Metric)),
        key=lambda metric: _GROUPS.index(metric.group),
    )
)
"""All of them, group by group."""
ON_PAGE: Final = tuple(metric for metric in METRICS if not metric.only_otlp)
"""Those that Prometheus scrapes."""
BY_NAME: Final = {metric.name: metric for metric in METRICS}
