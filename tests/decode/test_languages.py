"""The language of a file is told from its name, and there are few."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_exporter.counting.labels import limit_of
from opencode_exporter.decode.languages import LANGUAGES, language_of


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("/home/ann/project/main.py", "python"),
        ("src/App.TSX", "typescript"),
        ("README.md", "markdown"),
        ("README", "text"),
        ("a/b.d/notes.txt", "text"),
        ("Dockerfile", "dockerfile"),
        ("deploy/prod.dockerfile", "dockerfile"),
        ("Makefile", "makefile"),
        (r"C:\Users\Ann\Main.CS", "c#"),
        (r"C:\projects.py\LICENSE", "text"),
        ("archive.tar.gz", "other"),
        ("types.d.ts", "typescript"),
        (".py", "other"),
        (".zshrc", "shell"),
        ("name.", "other"),
        ("folder.py/", "other"),
        ("", "other"),
    ],
)
def test_language_is_told_from_the_last_ending_or_the_whole_name(path: str, language: str) -> None:
    """Folders, cases and kinds of slashes do not matter; what is not known is ``other``."""
    assert language_of(path) == language


@given(st.text())
def test_every_name_has_one_of_the_shipped_languages(path: str) -> None:
    """No part of a name becomes a language of its own."""
    assert language_of(path) in LANGUAGES


def test_languages_leave_room_below_the_limit_of_a_label() -> None:
    """All of them can be shown, with the values for the unknown and for the overflow."""
    assert len(LANGUAGES) <= limit_of("language") - 2
    assert all(name == name.lower() for name in LANGUAGES)
