"""The catalogue of what is read: databases of OpenCode."""

from __future__ import annotations

from typing import Final

from opencode_exporter.catalog.metric import Metric

UP = Metric(
    group="source",
    name="opencode_up",
    kind="gauge",
    help="1 if the last poll of this source succeeded.",
    otlp="opencode.up",
    labels=("source",),
    example="avg_over_time(opencode_up[1d])",
)
SOURCE_INFO = Metric(
    group="source",
    name="opencode_source_info",
    kind="gauge",
    help="1; storage generation and the newest OpenCode version that wrote a session.",
    otlp="opencode.source.info",
    labels=("source", "generation", "opencode_version"),
    example="count by (generation, opencode_version) (opencode_source_info)",
)
SOURCE_SUPPORTED = Metric(
    group="source",
    name="opencode_source_supported",
    kind="gauge",
    help="0 if tables or columns that the exporter relies on are not there.",
    otlp="opencode.source.supported",
    labels=("source",),
    example="opencode_source_supported == 0",
)
SOURCE_BYTES = Metric(
    group="source",
    name="opencode_source_bytes",
    kind="gauge",
    help="Size of the source's files: main, wal.",
    otlp="opencode.source.bytes",
    otlp_unit="By",
    labels=("source", "part"),
    example='delta(opencode_source_bytes{part="main"}[7d])',
)
SOURCE_LAST_EVENT = Metric(
    group="source",
    name="opencode_source_last_event_timestamp_seconds",
    kind="gauge",
    help="Time of the newest event seen.",
    otlp="opencode.source.last_event.timestamp",
    otlp_unit="s",
    labels=("source",),
    scale=1000,
    merge="max",
    example="time() - opencode_source_last_event_timestamp_seconds",
)

# The exporter itself.

METRICS: Final = (
    UP,
    SOURCE_INFO,
    SOURCE_SUPPORTED,
    SOURCE_BYTES,
    SOURCE_LAST_EVENT,
)
