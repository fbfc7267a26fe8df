"""
Compares what the computation expects with a page of metrics, family by family.

Owns the labels of each metric, in the order in which `oracle.totals` uses them; they
are those of the metrics contract.  Series at 0 are as good as none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from contract.oracle.totals import Expected

if TYPE_CHECKING:
    from harness.exporters import Exposed

_MODEL = ("provider", "model")
LABELS: Mapping[str, tuple[str, ...]] = {
    "opencode_skill_transitions_total": ("from_skill", "to_skill"),
    "opencode_skill_next_tool_total": ("skill", "tool"),
    "opencode_skill_runs_total": ("skill", "agent", "outcome"),
    "opencode_skill_run_duration_seconds": ("skill",),
    "opencode_skill_run_tool_invocations_total": ("skill", "tool", "status"),
    "opencode_skill_run_retries_total": ("skill",),
    "opencode_skill_run_tokens_total": ("skill", "token_type"),
    "opencode_skill_run_cost_usd_total": ("skill",),
    "opencode_tool_retries_total": ("tool",),
    "opencode_edit_attempts_total": ("tool", *_MODEL, "status"),
    "opencode_edit_attempts_per_change": ("tool",),
    "opencode_edit_abandoned_changes_total": ("tool",),
    "opencode_edit_lines_total": ("change", "language"),
    "opencode_file_operations_total": ("operation", "language"),
    "opencode_sessions_total": ("session_kind", "project"),
    "opencode_session_tool_invocations": ("session_kind",),
    "opencode_turns_total": ("agent", "outcome"),
    "opencode_turn_duration_seconds": ("agent",),
    "opencode_messages_total": ("role", "agent"),
    "opencode_session_errors_total": ("error",),
    "opencode_session_compactions_total": ("mode",),
    "opencode_steps_total": (*_MODEL, "finish"),
    "opencode_step_duration_seconds": _MODEL,
    "opencode_model_response_seconds": _MODEL,
    "opencode_model_retries_total": _MODEL,
    "opencode_tokens_total": (*_MODEL, "token_type"),
    "opencode_cost_usd_total": (*_MODEL, "agent", "project"),
    "opencode_todos": ("todo_status",),
    "opencode_exporter_unattributed_total": (),
}
_MS = 1000


def differences(found: Expected, page: Exposed) -> Iterator[str]:
    """Yield a sentence for every series of a page that is not as expected."""
    for name, values in found.items():
        if any(isinstance(value, list) for value in values.values()) or _observed(name, page):
            yield from _of_histogram(name, values, page)
        else:
            yield from _of_series(name, values, page.by(name, *LABELS[name]))


def _observed(name: str, page: Exposed) -> bool:
    return f"{name}_bucket" in page.samples


def _of_histogram(name: str, values: Mapping[Any, list[int]], page: Exposed) -> Iterator[str]:
    labels, scale = LABELS[name], _MS if name.endswith("_seconds") else 1
    counts = {key: len(seen) for key, seen in values.items()}
    sums = {key: sum(seen) / scale for key, seen in values.items()}
    yield from _of_series(f"{name}_count", counts, page.by(f"{name}_count", *labels))
    yield from _of_series(f"{name}_sum", sums, page.by(f"{name}_sum", *labels))
    shown = page.by(f"{name}_bucket", *labels, "le")
    edges = {dict(series)["le"] for series in page.samples.get(f"{name}_bucket", {})}
    below = {
        (*key, edge): sum(one <= float(edge) * scale for one in seen)
        for key, seen in values.items()
        for edge in edges
    }
    yield from _of_series(f"{name}_bucket", below, shown)


def _of_series(
    name: str, wanted: Mapping[Any, float], shown: Counter[tuple[str, ...]]
) -> Iterator[str]:
    for key in sorted(wanted.keys() | shown.keys()):
        if abs(wanted.get(key, 0) - shown[key]) > 1e-6:  # sums of dollars and seconds
            yield f"{name}{key}: {shown[key]}, expected {wanted.get(key, 0)}"


def cells_of(series: Mapping[Any, Any]) -> dict[Any, list[int]]:
    """Return histograms of the ledger as the oracle has them: each bucket, and then the sum."""
    return {labels: [*held.counts, held.total] for labels, held in series.items()}
