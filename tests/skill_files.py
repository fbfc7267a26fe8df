"""Skills on disk for tests, and what a fresh scanner finds of them."""

from __future__ import annotations

from pathlib import Path

from opencode_exporter.skills import installed_skills

SKILL = "---\nname: {}\ndescription: d\n---\nDo it.\n"


def put(folder: Path, name: str) -> None:
    """Write a sound skill into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(SKILL.format(name))


def found(home: Path, *directories: tuple[Path, Path], **environ: str) -> set[tuple[str, str]]:
    """Return name and scope of what a fresh scanner finds, without the built-in skill."""
    installed = installed_skills(home, environ, directories)
    return {(skill.name, skill.scope) for skill in installed if skill.scope != "builtin"}
