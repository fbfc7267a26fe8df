"""What an error means, by phrases: the independent computation and the exporter say the same."""

from __future__ import annotations

import pytest

from contract.oracle import tools, verdicts
from opencode_exporter.catalog import vocabulary
from opencode_exporter.decode.opencode import verdicts as decoded


@pytest.mark.parametrize(
    ("text", "kind", "status", "reason"),
    [
        ("Permission denied: skill", "", "denied", ""),
        ("The user has specified a rule which prevents you from using it", "", "denied", ""),
        ("The user declined this tool call", "aborted", "denied", ""),
        ("The user rejected permission to use this tool", "", "denied", ""),
        ("PermissionDeniedError: bash", "", "denied", ""),
        ("it says nothing", "permission.rejected", "denied", ""),
        ("Tool execution interrupted: read", "aborted", "abandoned", ""),
        ("it says nothing", "tool.interrupted", "abandoned", ""),
        ("Tool execution aborted", "", "aborted", ""),
        ("Tool execution interrupted", "aborted", "aborted", ""),
        ("The operation was aborted.", "", "aborted", ""),
        ("said: The operation was aborted.", "", "error", "other"),
        ("Task cancelled", "", "aborted", ""),
        ("it says nothing", "aborted", "aborted", ""),
        ("timeout", "tool.input-json", "error", "invalid_arguments"),
        ('Skill "no-such" not found. Available skills: a', "", "error", "not_found"),
        ("Unable to load skill x", "tool.execution", "error", "not_found"),
        ('No tool named "x" is currently available', "", "error", "not_found"),
        ("Unknown tool: x", "", "error", "not_found"),
        ("File /a/b\nnot found", "", "error", "not_found"),
        ("SchemaError(Missing key)", "", "error", "invalid_arguments"),
        ("The edit tool was called with invalid arguments", "", "error", "invalid_arguments"),
        ("Invalid tool input", "", "error", "invalid_arguments"),
        ("oldString and newString must be different", "", "error", "invalid_arguments"),
        ("Could not find oldString in the file", "", "error", "edit_mismatch"),
        ("apply_patch verification failed: Failed to find context", "", "error", "edit_mismatch"),
        ("ripgrep execution failed", "", "error", "missing_dependency"),
        ("Executable not found in $PATH", "", "error", "missing_dependency"),
        ("spawn rg ENOENT", "", "error", "missing_dependency"),
        ("ENOENT: no such file or directory, open '/a'", "", "error", "file_access"),
        ("cat: /a: Permission denied", "", "error", "file_access"),
        ("Permission denied: /a", "", "error", "file_access"),
        ("The request Timed out", "", "error", "timeout"),
        ("exceeding timeout 300 ms", "", "error", "timeout"),
        ("Transport error", "unknown", "error", "network"),
        ("getaddrinfo ENOTFOUND example.org", "", "error", "network"),
        ("Request failed with status code: 404", "", "error", "network"),
        ("EISDIR: illegal operation on a directory", "", "error", "file_access"),
        ("it failed", "", "error", "other"),
        ("", "", "error", "other"),
        ("x" * 3000 + "Transport error", "", "error", "other"),
    ],
)
def test_error_texts_mean_the_same_to_both(text: str, kind: str, status: str, reason: str) -> None:
    """The oracle took its verdicts from the exporter: a wrong one was wrong in both, and held."""
    assert verdicts.verdict(text, kind) == (status, reason)
    assert decoded.verdict(text, kind) == (status, reason)


@pytest.mark.parametrize("tool", ["bash", "task", "apply_patch", "read", "mine_bash", "x" * 500])
def test_tools_have_one_name(tool: str) -> None:
    """Under the names that the contract gives."""
    assert tools.canonical(tool) == decoded.canonical(tool)


def test_tools_are_of_the_same_category() -> None:
    """A tool that one of the two forgets would hide what the other counts."""
    assert tools.CATEGORIES == vocabulary.CATEGORIES
