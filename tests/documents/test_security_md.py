"""SECURITY.md promises nothing that no test holds."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Final

import pytest

from harness.places import ROOT, TESTS

TEXT: Final = (ROOT / "SECURITY.md").read_text("utf-8")
ROW: Final = re.compile(r"^\| (?!promise |---)(?P<promise>.*) \| (?P<tests>.*) \|$", re.MULTILINE)
TEST: Final = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
PROMISES: Final = {row["promise"]: TEST.findall(row["tests"]) for row in ROW.finditer(TEXT)}


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the functions of a file of tests."""
    tree = ast.parse(next(TESTS.rglob(file)).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def test_promises_are_found() -> None:
    """A table that cannot be read would hold nothing."""
    assert len(PROMISES) >= 25
    assert TEXT.count("\n| ") == len(PROMISES) + 2 * TEXT.count("| promise | held by |")


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_is_held_by_tests_that_are_there(promise: str) -> None:
    """A test that was renamed or removed takes its promise with it."""
    assert PROMISES[promise]
    for file, test in PROMISES[promise]:
        assert test in names_in(file), f"{file} has no {test}"
