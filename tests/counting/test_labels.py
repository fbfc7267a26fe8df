"""Claims about ``labels.clean``: a label can be seen, typed and kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_exporter.counting.labels import MAX_LENGTH, clean
from opencode_exporter.events import UNKNOWN


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("re\u200bview\u200d", "review"),
        ("\ufeffreview\u2060", "review"),
        ("re\u00advie\u200ew", "review"),
        ("re\u00a0vi\u202few", "review"),
        ("code\u3000review", "code review"),
        ("code review", "code review"),
        ("日本 é \u200c😀", "日本 é 😀"),
        ("a\tb\x07c\x85", "a?b?c?"),
        ("\u200b\u00a0", UNKNOWN),
        ("", UNKNOWN),
        ("x" * 200, "x" * MAX_LENGTH),
    ],
)
def test_what_cannot_be_seen_is_dropped(name: str, label: str) -> None:
    """A zero-width space in an agent's name was a question mark that nobody had written."""
    assert clean(name) == label


@given(st.text())
def test_label_is_printable_bounded_and_final(name: str) -> None:
    """Whatever a name holds, its label is printable, and cleaning it again changes nothing."""
    label = clean(name)
    assert label.isprintable()
    assert 0 < len(label) <= MAX_LENGTH
    assert clean(label) == label
