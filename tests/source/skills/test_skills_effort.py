"""Claims about ``SkillScanner``: what a scan costs has a bound, whatever a project holds."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from harness.clock import FakeClock
from harness.skill_files import found, put
from harness.waiting import PATIENCE_S
from opencode_exporter.expose.shown import tool_labels
from opencode_exporter.source.opencode.config import parse_config
from opencode_exporter.source.skills import scanner as skills
from opencode_exporter.source.skills.scanner import SkillScanner


def _names(scanner: SkillScanner, *directories: tuple[Path, Path]) -> set[str]:
    return {skill.name for skill in scanner.scan(directories)} - {"customize-opencode"}


@pytest.mark.parametrize("ending", ["x\ry", "x\u2028y"])
def test_line_to_mend_is_gone_through_once(home: Path, ending: str) -> None:
    """Blanks before what no value can be were tried in every length: minutes for 100 KB."""
    top = home / ".claude/skills/x"
    top.mkdir(parents=True)
    (top / "SKILL.md").write_text(f"---\nname: a: b: c\na:{' ' * 120_000}{ending}\n---\n")
    began = time.monotonic()
    found(home)
    assert time.monotonic() - began < PATIENCE_S


def test_listed_folders_have_a_bound(
    home: Path, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """100 000 listed folders were looked for once for each session's directory, every minute."""
    monkeypatch.setattr(skills, "_SCAN_FOLDERS", 50)
    put(project / "0/x", "first")
    put(project / "99/x", "last")
    listed = {"skills": {"paths": [str(number) for number in range(100)]}}
    (project / "opencode.json").write_text(json.dumps(listed))
    scanner = SkillScanner(home, {})
    for _ in range(2):
        assert _names(scanner, (project, project)) == {"first"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_folders_above_have_a_bound(home: Path, project: Path) -> None:
    """20 directories of 2 000 levels took seven seconds, every minute; nobody works there."""
    deep = project / "/".join("d" * 101)
    put(deep / ".claude/skills/x", "deep")
    put(project / "d/d/.claude/skills/x", "near")
    assert found(home, (deep, project), (project / "d/d/d", project)) == {("near", "project")}


def test_filled_path_has_a_bound(home: Path, project: Path) -> None:
    """A path of nothing but variables was filled in whatever that came to: gigabytes."""
    put(project / "good/x", "good")
    listed = {"skills": {"paths": ["{env:X}" * 500, "{env:Y}"]}}
    (project / "opencode.json").write_text(json.dumps(listed))
    environ = {"X": "./" * 1000, "Y": "good"}
    assert found(home, (project, project), **environ) == {("good", "project")}


def test_configuration_says_the_first_of_much() -> None:
    """A file could name 100 000 folders and servers, and each was kept."""
    text = json.dumps(
        {
            "skills": {"paths": ["x" * 5000, *map(str, range(5000))]},
            "mcp": {"y" * 500: {}, **{f"s{number}": {} for number in range(5000)}},
        }
    )
    config = parse_config(text.encode())
    assert config.skill_paths == tuple(map(str, range(999)))
    assert config.servers == tuple(f"s{number}" for number in range(999))


@pytest.mark.parametrize(
    ("tool", "server"),
    [("a_b_c", "a_b"), ("a.b_c", "a"), ("a", ""), ("a_", "a"), ("ab_c", ""), ("_x", "")],
)
def test_owner_of_a_tool_is_looked_up(tool: str, server: str) -> None:
    """Each page compared every tool with every server: four seconds for a file of 1 MB."""
    assert tool_labels(tool, frozenset({"a", "a_b"}))[2] == server


class _SlowDisk(FakeClock):
    """A clock by which each look takes two seconds."""

    def monotonic(self) -> float:
        """Return seconds, two more each time."""
        self.advance(ms=2000)
        return super().monotonic()


def test_files_are_read_some_at_a_time(home: Path) -> None:
    """Thousands of files that are slow to parse held up everything for hours."""
    for number in range(5):
        put(home / f".claude/skills/{number}", f"skill-{number}")
    scanner = SkillScanner(home, {}, _SlowDisk())
    counts = [len(_names(scanner)) for _ in range(4)]
    assert counts == [2, 4, 5, 5]
