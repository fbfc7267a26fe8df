"""Claims about ``front_matter``: a skill has the name that OpenCode reads in its SKILL.md."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.real_tools import real_opencode
from harness.skill_files import found, put, seen_by
from opencode_exporter.counting.labels import clean
from opencode_exporter.source.skills.front_matter import skill_name
from source.skills.front_matters import BLOCKS, SPELLINGS


def shown(name: str | None) -> str | None:
    """Return the label of a name, if there is one."""
    return clean(name) if name else name


@pytest.mark.parametrize(("text", "name"), SPELLINGS.items())
def test_front_matter_gives_the_name(text: str, name: str | None) -> None:
    """The name is the text under ``name``; without one the file is no skill."""
    assert shown(skill_name(text.encode(), is_whole=True)) == shown(name)


@pytest.mark.real
def test_real_opencode_reads_the_same_names(home: Path, project: Path) -> None:
    """Tabs, quotes, numbers, keys that come twice: the real OpenCode sees what we see."""
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    for number, text in enumerate(SPELLINGS):
        folder = project / f".opencode/skills/case{number}"
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_bytes(text.encode())
    seen = {
        Path(skill["location"]).parent.name: shown(skill["name"])
        for skill in seen_by(real_opencode("1.18.33").path, home, project)
    }
    theirs = {text: seen.get(f"case{number}") for number, text in enumerate(SPELLINGS)}
    assert theirs == {text: shown(name) for text, name in SPELLINGS.items()}


def test_long_front_matter_is_read(home: Path) -> None:
    """Front matter of more than 64 KB hid the skill, and its failed loads were ``_unknown``."""
    put(home / ".claude/skills/x", f"long\nnotes: {'z' * 70_000}")
    assert found(home) == {("long", "user")}


@given(st.lists(st.sampled_from([*BLOCKS, "\t", " ", "\n", ": ", "- ", '"', "[", "}", "|", "&a"])))
def test_any_text_gives_a_name_or_none(parts: list[str]) -> None:
    """Pieces of odd spellings, put together anyhow, never raise."""
    text = f"---\n{''.join(parts)}\n---\n"
    assert isinstance(skill_name(text.encode(), is_whole=True), str | None)


def test_escape_beyond_unicode_is_no_crash() -> None:
    r"""``\UFFFFFFFF`` made the whole scan for skills fail."""
    assert skill_name(b'---\nname: "\\UFFFFFFFF"\n---\n', is_whole=True) is None


@pytest.mark.parametrize("name", ["''", "' '", '"\\u200b"', "_unknown", "_other"])
def test_name_that_is_no_label_is_dropped(home: Path, name: str) -> None:
    """Nothing to be seen, and the two words that are our own, are no names of skills."""
    put(home / ".claude/skills/x", name)
    assert found(home) == set()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("x" * 200, "x" * 128),
        ('"a\\nb"', "a?b"),
        ('"a\\x07b"', "a?b"),
        ('"a\\u202eb"', "ab"),
        ("re\u200bview", "review"),
    ],
)
def test_installed_skill_has_the_label_of_its_loads(home: Path, name: str, label: str) -> None:
    """A long or odd name was left out, so its failed loads were ``_unknown``."""
    put(home / ".claude/skills/x", name)
    assert found(home) == {(label, "user")}
