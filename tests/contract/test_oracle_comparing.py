"""The comparison of a page with what the computation expects finds every kind of difference."""

from __future__ import annotations

from typing import Any

import pytest

from contract.oracle.comparing import LABELS, differences
from contract.oracle.totals import of_sessions
from harness.exporters import Exposed

PAGE = """\
# TYPE opencode_turns_total counter
opencode_turns_total{agent="build",outcome="succeeded"} 2
opencode_turns_total{agent="build",outcome="failed"} 0
# TYPE opencode_turn_duration_seconds histogram
opencode_turn_duration_seconds_bucket{agent="build",le="1.0"} 1
opencode_turn_duration_seconds_bucket{agent="build",le="+Inf"} 2
opencode_turn_duration_seconds_count{agent="build"} 2
opencode_turn_duration_seconds_sum{agent="build"} 3.5
"""
TURNS, SECONDS = "opencode_turns_total", "opencode_turn_duration_seconds"


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ({TURNS: {("build", "succeeded"): 2}}, []),
        ({TURNS: {("build", "succeeded"): 1}}, [TURNS]),
        ({TURNS: {("build", "failed"): 1, ("build", "succeeded"): 2}}, [TURNS]),
        ({TURNS: {}}, [TURNS]),
        ({SECONDS: {("build",): [1000, 2500]}}, []),
        ({SECONDS: {("build",): [1500, 2000]}}, [f"{SECONDS}_bucket"]),
        ({SECONDS: {("build",): [900, 2500]}}, [f"{SECONDS}_sum"]),
        ({SECONDS: {}}, [f"{SECONDS}_count", f"{SECONDS}_sum", *[f"{SECONDS}_bucket"] * 2]),
    ],
)
def test_differences_are_told(found: dict[str, Any], wrong: list[str]) -> None:
    """A count, a sum or a bucket that is not as expected is named, and nothing else is."""
    told = list(differences(found, Exposed(PAGE)))
    assert [sentence.partition("(")[0] for sentence in told] == wrong


def test_labels_are_known_of_every_metric_that_is_computed() -> None:
    """The computation names no metric that cannot be compared."""
    assert LABELS.keys() == of_sessions([]).keys() | {"opencode_todos"}
