"""CONTRIBUTING.md says where things are and what they are called, as the code has it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import opencode_exporter
from documents.texts import PAGES
from harness.places import ROOT

PACKAGE: Final = Path(opencode_exporter.__file__).parent
TEXT: Final = PAGES["CONTRIBUTING.md"]
LINES: Final = 130
MAP: Final = TEXT.split("## Where things are")[1].split("\n## ")[0]
CHANGES: Final = TEXT.split("## To change something")[1].split("\n## ")[0]
WORDS: Final = TEXT.split("## Words")[1].split("\n## ")[0]


def identifiers(path: Path) -> Iterator[str]:
    """Yield the names that a module defines and uses, and its own."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.arg(arg=name):
                yield name


SPOKEN: Final = {
    word.lower()
    for path in PACKAGE.rglob("*.py")
    for name in identifiers(path)
    for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
}
"""Every word of which a name in the code is made."""


def test_it_is_read_in_one_sitting() -> None:
    """What explains too much is not read."""
    assert TEXT.count("\n") <= LINES


def test_every_folder_of_the_package_is_on_the_map() -> None:
    """The folders of the table are those that there are."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)/`", MAP, re.MULTILINE)) == folders


@pytest.mark.parametrize(
    "named", sorted(set(re.findall(r"`(\w[\w./]*[/.][\w./]*)`", MAP + CHANGES)))
)
def test_what_is_named_is_there(named: str) -> None:
    """Each file and folder is below the package, or at the root of the repository."""
    assert (PACKAGE / named).exists() or (ROOT / named).exists()


def test_words_of_the_glossary_are_those_of_the_code() -> None:
    """Each word is spoken in the code, each once explained, in the order of the alphabet."""
    words = re.findall(r"^\| (\w+) \|", WORDS, re.MULTILINE)[1:]  # without the head
    assert len(words) > 30
    assert words == sorted(set(words))
    assert [word for word in words if word not in SPOKEN] == []


def test_words_that_are_not_said_are_not_in_the_code() -> None:
    """One idea has one word."""
    avoided = re.findall(r"\*(\w+)\*", WORDS)
    assert len(avoided) >= 5
    assert [word for word in avoided if word in SPOKEN] == []
