"""Of an expression, the names in it are told apart: metrics, labels, functions, words."""

from __future__ import annotations

import pytest

from grafana.promql import Matcher, declared, labels_of, matchers_of, metrics_of, parsed


@pytest.mark.parametrize(
    ("text", "metrics", "labels"),
    [
        ("up", {"up"}, set()),
        ("1 + 2.5e3 > bool Inf", set(), set()),
        ("a:b:rate5m and on (x, y) c unless ignoring(z) d", {"a:b:rate5m", "c", "d"}, set("xyz")),
        ("sum by (skill) (rate(a_total[5m]))", {"a_total"}, {"skill"}),
        ("sum(rate(a[5m] offset 1w)) without (le) / 0x1F", {"a"}, {"le"}),
        ("a * on (job) group_left (v) b{x!~'y', z=\"{by}\"}", {"a", "b"}, {"job", "v", "x", "z"}),
        ("a / ignoring (x) group_right b", {"a", "b"}, {"x"}),
        ('{__name__=~"a|b", job="x"}', set(), {"__name__", "job"}),
        ("topk(5, a) # by (nothing)\n or b", {"a", "b"}, set()),
        ('label_replace(a, "new", "$1", "old", "(.*)")', {"a"}, {"old"}),
        ('sum by (new) (label_join(a, "new", "-", "one", "two"))', {"a"}, {"one", "two"}),
        ('label_replace(a, "new", "text", "", "")', {"a"}, set()),
        ('count_values("value", a)', {"a"}, set()),
        ("a[$__rate_interval] > $limit + ${other:regex}", {"a"}, set()),
        ("$over(a[$__range])", {"a"}, set()),
        ("max_over_time(a[1h:5m] @ end())", {"a"}, set()),
    ],
)
def test_names_are_told_apart(text: str, metrics: set[str], labels: set[str]) -> None:
    """Strings, comments, words, functions, durations and variables are neither metric nor label."""
    assert metrics_of(text) == metrics
    assert labels_of(text) == labels


def test_selector_knows_its_conditions_its_range_and_what_is_around_it() -> None:
    """Each selector stands on its own: two of one metric are two."""
    text = 'sum(rate(a{job=~"$job", x!="}"}[$__range])) / max by (y) (a{})'
    first, second = parsed(text).selectors
    assert first.matching("job") == [Matcher("job", "=~", "$job")]
    assert matchers_of(text) == {Matcher("job", "=~", "$job"), Matcher("x", "!=", "}")}
    assert (first.range, first.calls) == ("$__range", ("sum", "rate"))
    assert parsed("sum($over(a[1m]))").selectors[0].calls == ("sum", "$over")
    assert (second.range, second.calls, second.matchers) == ("", ("max",), ())


def test_what_is_no_expression_is_refused() -> None:
    """A character that PromQL does not have is an error that shows where it stands."""
    with pytest.raises(ValueError, match="not PromQL at '; b'"):
        parsed("a; b")


def test_series_of_a_histogram_are_declared_with_it() -> None:
    """`x_bucket`, `x_sum` and `x_count` belong to `x`; a counter has no such series."""
    metric = declared("opencode_tool_duration_seconds")
    assert metric
    assert declared("opencode_tool_duration_seconds_bucket") is metric
    assert declared("opencode_tool_duration_seconds_quantile") is None
    assert declared("opencode_tool_invocations_total_count") is None
    assert declared("up") is None
    assert declared("gen_ai_execute_tool_duration_seconds") is None  # it is not on the page
