"""Claims about ``SkillScanner``: it finds what OpenCode would find."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.real_tools import real_opencode
from harness.skill_files import found, put, seen_by
from opencode_exporter.catalog.vocabulary import InstalledSkill
from opencode_exporter.source.opencode.config import parse_config
from opencode_exporter.source.skills.scanner import SkillScanner


def test_empty_machine_has_the_built_in_skill(home: Path) -> None:
    """A skill that OpenCode brings along is installed everywhere."""
    assert SkillScanner(home, {}).scan([]) == {InstalledSkill("customize-opencode", "builtin")}


@pytest.mark.parametrize(
    "place",
    [
        ".claude/skills/x",
        ".claude/skills",
        ".agents/skills/deep/er",
        ".config/opencode/skill/x",
        ".config/opencode/skills/x",
        ".opencode/skill/x",
        ".opencode/skills/x",
    ],
)
def test_places_in_the_home_are_the_users(home: Path, place: str) -> None:
    """Each place in the home is looked in, to any depth, whatever the folder is called."""
    put(home / place, "mine")
    assert found(home) == {("mine", "user")}


@pytest.mark.parametrize(
    ("place", "seen"),
    [
        (".claude/skills/x", True),
        (".agents/skills/x", True),
        (".opencode/skill/x", True),
        ("a/.claude/skills/x", True),
        ("a/b/.opencode/skills/x", True),
        ("a/b/c/.opencode/skills/x", False),
        ("other/.claude/skills/x", False),
        ("../.claude/skills/x", False),
        ("skills/x", False),
    ],
)
def test_places_from_the_directory_up_to_the_worktree_are_the_projects(
    home: Path, project: Path, place: str, seen: bool
) -> None:
    """A session sees skills from its directory up to its worktree, none below, beside or above."""
    put(project / place, "ours")
    expected = {("ours", "project")} if seen else set()
    assert found(home, (project / "a" / "b", project)) == expected


def test_environment_moves_and_adds_places(home: Path, tmp_path: Path) -> None:
    """XDG_CONFIG_HOME replaces ~/.config; OPENCODE_CONFIG_DIR is looked in as well."""
    put(home / ".config/opencode/skills/x", "not-looked-at")
    put(tmp_path / "xdg/opencode/skills/x", "moved")
    put(tmp_path / "extra/skill/x", "added")
    environ = {
        "XDG_CONFIG_HOME": str(tmp_path / "xdg"),
        "OPENCODE_CONFIG_DIR": str(tmp_path / "extra"),
    }
    assert found(home, **environ) == {("moved", "user"), ("added", "user")}


def test_listed_paths_are_relative_to_the_sessions_directory(home: Path, project: Path) -> None:
    """``skills.paths`` knows ``~/`` and ``{env:X}``; what is relative starts at the session."""
    directory = project / "a"
    put(directory / "listed/x", "relative")
    put(project / "listed/x", "beside-the-config")
    put(home / "tilde/x", "tilde")
    put(home / "named/x", "environment")
    text = '{"skills": {"paths": ["listed", "~/tilde", "{env:BASE}/named", 7, "", "\\u0000"]}}'
    (project / "opencode.json").write_text(text)
    assert found(home, (directory, project), BASE=str(home)) == {
        ("relative", "project"),
        ("tilde", "project"),
        ("environment", "project"),
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("opencode.json", '{"skills": {"paths": ["~/more"]}}'),
        ("opencode.jsonc", '\ufeff{"skills": {"paths": ["~/more",], /* , */ }, // "}\n}'),
        ("opencode.jsonc", '{"a": "// no comment", "b": ",]", "skills": {"paths": ["~/more"]}}'),
        ("opencode.jsonc", '{"a": "quote \\" /*", "skills": {"paths": ["~/more"]}, "c": "*/"}'),
        ("opencode.json", '{"skills": ["~/more", "https://example.com/skills/"]}'),
    ],
)
def test_paths_of_the_users_config_are_the_users(home: Path, name: str, text: str) -> None:
    """JSON with comments and trailing commas is read in both generations' shapes."""
    put(home / "more/x", "more")
    (home / ".config/opencode").mkdir(parents=True)
    (home / ".config/opencode" / name).write_text(text)
    assert found(home) == {("more", "user")}


@given(st.text(alphabet='"\\/*,{}[]:\n a', max_size=60))
def test_broken_config_lists_nothing_or_text(text: str) -> None:
    """Any text as a config file gives a list of texts, and never an error."""
    assert all(isinstance(path, str) for path in parse_config(text.encode()).skill_paths)


@pytest.mark.slow
@given(st.dictionaries(st.text(), st.text() | st.lists(st.text())), st.lists(st.text(min_size=1)))
def test_comments_are_found_outside_strings_only(rest: dict[str, object], paths: list[str]) -> None:
    """Plain JSON means the same, whatever its strings look like."""
    text = json.dumps({**rest, "skills": {"paths": paths}}, ensure_ascii=False)
    expected = tuple(path for path in paths if "://" not in path)
    assert parse_config(text.encode()).skill_paths == expected


def test_hidden_folders_count_where_opencode_looks_into_them(home: Path) -> None:
    """Below .claude and .agents a hidden folder is one like others; OpenCode's own are not."""
    put(home / ".claude/skills/.a", "claude")
    put(home / ".agents/skills/x/.a", "agents")
    put(home / ".config/opencode/skills/.a", "own")
    put(home / ".opencode/skill/x/.a/y", "own-too")
    assert found(home) == {("claude", "user"), ("agents", "user")}


def test_same_name_in_two_scopes_is_two_skills(home: Path, project: Path) -> None:
    """The user's and the project's skill of one name are both there; copies in a scope are one."""
    put(home / ".claude/skills/x", "twice")
    put(home / ".agents/skills/x", "twice")
    put(project / ".claude/skills/x", "twice")
    assert found(home, (project, project)) == {("twice", "user"), ("twice", "project")}


def test_home_above_a_directory_without_worktree_stays_the_users(home: Path) -> None:
    """Outside of a repository the way up leads through the home: its skills are the user's."""
    put(home / ".claude/skills/x", "mine")
    put(home / "notes/.claude/skills/x", "notes")
    assert found(home, (home / "notes", Path("/"))) == {("mine", "user"), ("notes", "project")}


@pytest.fixture
def opencode() -> Path:
    """Return a real OpenCode 1.18.33."""
    return real_opencode("1.18.33").path


@pytest.mark.real
def test_real_opencode_sees_the_same_skills(
    home: Path, project: Path, tmp_path: Path, opencode: Path
) -> None:
    """Over places, links, hidden folders and config files the real OpenCode and we agree."""
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    directory = project / "a/b"
    places = [
        home / ".claude/skills/x",
        home / ".agents/skills",
        home / ".config/opencode/skill/x",
        home / ".opencode/skills/x/y",
        tmp_path / "extra/skills/x",
        project / ".claude/skills/.hidden",
        project / ".agents/skills/x/.hidden/y",
        project / ".opencode/skills/.hidden",
        home / ".config/opencode/skills/x/.hidden/y",
        home / "tilde/.hidden",
        project / "a/.agents/skills/x",
        project.parent / ".claude/skills/x",
        project / "listed/x",
        directory / "listed/x",
        directory / "below/.claude/skills/x",
        home / "tilde/x",
        home / "named/x",
        tmp_path / "linked",
    ]
    for place in places:
        put(place, "at-" + str(place.relative_to(tmp_path)).replace("/", "-"))
    (project / ".agents/skills/link").symlink_to(tmp_path / "linked")
    (project / ".agents/skills/loop").symlink_to(project / ".agents")
    text = '// c\n{"skills": {"paths": ["listed", "~/tilde", /* , */ "{env:HOME}/named",],},}'
    (project / "opencode.jsonc").write_text(text)

    extra = {"OPENCODE_CONFIG_DIR": str(tmp_path / "extra")}
    ours = SkillScanner(home, {**extra, "HOME": str(home)}).scan([(directory, project)])
    assert len(ours) > len(places) / 2
    seen = seen_by(opencode, home, directory, **extra)
    assert {skill.name for skill in ours} == {skill["name"] for skill in seen}
