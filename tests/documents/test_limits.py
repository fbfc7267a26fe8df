"""How large a file, a function and a folder may be: what is larger holds more than one thing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import opencode_exporter
from harness.places import TESTS

LINES_OF_A_FILE: Final = 350
LINES_OF_A_FUNCTION: Final = 60
FILES_OF_A_FOLDER: Final = 14
MODULES_OF_THE_ROOT: Final = 6
PACKAGE: Final = Path(opencode_exporter.__file__).parent
FILES: Final = sorted(path for folder in (PACKAGE, TESTS) for path in folder.rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines of each function; decorators are none of it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


def test_files_are_found() -> None:
    """Limits of nothing hold always."""
    assert {PACKAGE / "chunk.py", Path(__file__).resolve()} <= {path.resolve() for path in FILES}


def test_no_file_is_long() -> None:
    """Split it by what it holds; a half that needs the other's name is no half."""
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {path: lines for path, lines in lengths.items() if lines > LINES_OF_A_FILE} == {}


def test_no_function_is_long() -> None:
    """Nobody sees the whole of one that is longer than a page."""
    long = {
        f"{path}::{name}": lines
        for path in FILES
        for name, lines in functions(path)
        if lines > LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_no_folder_is_crowded() -> None:
    """The folders show the way from a row to a page; the demo stands apart."""
    folders = {path.parent for path in FILES if path.is_relative_to(PACKAGE)} - {PACKAGE / "demo"}
    files = {folder: len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: count for folder, count in files.items() if count > FILES_OF_A_FOLDER} == {}


def test_root_holds_what_all_stages_share() -> None:
    """Whatever belongs to a stage is in its folder."""
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(modules) <= MODULES_OF_THE_ROOT, modules
