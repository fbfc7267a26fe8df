"""Claims about ``SkillScanner``: nothing that lies on a disk can stop it or make it endless."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.skill_files import found, put
from harness.waiting import PATIENCE_S
from opencode_exporter.source.skills import scanner as scanning
from opencode_exporter.source.skills.scanner import SkillScanner


def test_odd_directories_are_passed_over(home: Path, tmp_path: Path) -> None:
    """Directories that are gone, relative, or no paths at all find nothing and break nothing."""
    odd = [Path("gone"), Path(), tmp_path / "gone", Path("/\0"), Path("/\udcff"), Path("/x" * 3000)]
    assert found(home, *((path, path) for path in odd)) == set()


def test_links_are_followed_and_loops_end(home: Path, tmp_path: Path) -> None:
    """Linked folders and files count; a link to a parent or to itself does not go round."""
    top = home / ".claude/skills"
    put(tmp_path / "elsewhere", "linked")
    put(tmp_path / "single", "single")
    (top / "file").mkdir(parents=True)
    (top / "folder").symlink_to(tmp_path / "elsewhere")
    (top / "file/SKILL.md").symlink_to(tmp_path / "single/SKILL.md")
    (top / "up").symlink_to(top)
    (top / "self").symlink_to("self")
    (top / "broken").symlink_to("nowhere")
    assert found(home) == {("linked", "user"), ("single", "user")}


def test_what_is_no_readable_file_is_passed_over(home: Path) -> None:
    """Pipes, folders named SKILL.md, empty, binary and forbidden files neither hang nor crash."""
    top = home / ".claude/skills"
    put(top / "good", "good")
    for name in ("pipe", "folder", "binary", "locked", "closed", "empty"):
        (top / name).mkdir()
    os.mkfifo(top / "pipe/SKILL.md")
    (top / "folder/SKILL.md").mkdir()
    (top / "binary/SKILL.md").write_bytes(b"---\n" + bytes(range(256)))
    (top / "empty/SKILL.md").touch()
    put(top / "locked", "locked")
    (top / "locked/SKILL.md").chmod(0)
    put(top / "closed/x", "closed")
    (top / "closed").chmod(0)
    may_read_all = os.access(top / "closed", os.R_OK)  # the superuser may
    hidden = {("locked", "user"), ("closed", "user")} if may_read_all else set()
    try:
        assert found(home) == {("good", "user")} | hidden
    finally:
        (top / "closed").chmod(0o700)


def test_only_the_top_of_a_large_file_is_read(home: Path) -> None:
    """A SKILL.md of 100 MB costs 256 KB; front matter that goes on longer is none."""
    top = home / ".claude/skills"
    put(top / "large", "large")
    os.truncate(top / "large/SKILL.md", 100_000_000)
    (top / "long").mkdir()
    (top / "long/SKILL.md").write_text("---\nname: long\n" + "# more\n" * 40_000 + "---\n")
    assert found(home) == {("large", "user")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "filler",
    ["[", "{", "- ", "? ", "a: ", '"', "*", "&a ", "!", "| ", "a:\n", " a:\n", "#", ",", "{a: "],
)
def test_hostile_front_matter_ends_soon(home: Path, filler: str) -> None:
    """Text made to be slow to parse is given up within seconds."""
    top = home / ".claude/skills/x"
    top.mkdir(parents=True)
    (top / "SKILL.md").write_text("---\nname: x\n" + filler * (250_000 // len(filler)))
    began = time.monotonic()
    found(home)
    assert time.monotonic() - began < PATIENCE_S


def test_nested_merge_keys_stay_small(home: Path) -> None:
    """Front matter that would unfold to 2^60 keys is read without unfolding it."""
    lines = [f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}" for n in range(1, 60)]
    top = home / ".claude/skills/x"
    top.mkdir(parents=True)
    text = "\n".join(["---", "name: bomb", "b0: &b0 {a: 1}", *lines, "---"])
    (top / "SKILL.md").write_text(text)
    assert found(home) == {("bomb", "user")}


def test_large_trees_are_cut_short_and_said_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Below a skills folder a bounded number of entries is read, those near the top first."""
    monkeypatch.setattr(scanning, "_FOLDER_ENTRIES", 50)
    top = home / ".claude/skills"
    put(top / "near", "near")
    for number in range(60):
        (top / "near" / "data" / str(number)).mkdir(parents=True)
    put(top / "near/data/1/far", "far")
    put(home / ".agents/skills/x", "other")
    scanner = SkillScanner(home, {})
    for _ in range(3):
        names = {skill.name for skill in scanner.scan([])}
        assert names == {"near", "other", "customize-opencode"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_packages_below_a_skill_are_not_entered(home: Path) -> None:
    """node_modules and .git are never walked; other hidden folders are."""
    put(home / ".claude/skills/x/node_modules/y", "package")
    put(home / ".claude/skills/.git/y", "repository")
    put(home / ".claude/skills/.hidden/y", "hidden")
    assert found(home) == {("hidden", "user")}


def test_later_scan_sees_changes_and_reads_nothing_else(
    home: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is parsed once until its time or size changes; removed skills disappear."""
    parsed: list[bytes] = []
    original = scanning._skill_name

    def counting(head: bytes) -> str | None:
        parsed.append(head)
        return original(head)

    monkeypatch.setattr(scanning, "_skill_name", counting)
    scanner = SkillScanner(home, {})
    put(home / ".claude/skills/x", "one")
    put(project / ".claude/skills/x", "two")

    def names() -> set[str]:
        return {skill.name for skill in scanner.scan([(project, project)])} - {"customize-opencode"}

    assert names() == names() == {"one", "two"}
    assert len(parsed) == 2
    put(home / ".claude/skills/x", "three")
    assert names() == {"two", "three"}
    assert len(parsed) == 3
    (project / ".claude/skills/x/SKILL.md").unlink()
    assert names() == {"three"}
    assert len(parsed) == 3
