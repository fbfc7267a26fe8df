"""Skills on disk for tests, and what a fresh scanner finds of them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from opencode_exporter.source.skills.scanner import SkillScanner

SKILL = "---\nname: {}\ndescription: d\n---\nDo it.\n"


def put(folder: Path, name: str) -> None:
    """Write a sound skill into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(SKILL.format(name))


def found(home: Path, *directories: tuple[Path, Path], **environ: str) -> set[tuple[str, str]]:
    """Return name and scope of what a fresh scanner finds, without the built-in skill."""
    installed = SkillScanner(home, environ).scan(directories)
    return {(skill.name, skill.scope) for skill in installed if skill.scope != "builtin"}


def seen_by(opencode: Path, home: Path, directory: Path, **environ: str) -> list[dict[str, str]]:
    """Ask the real OpenCode for all skills that a session in a directory has."""
    switches = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    data = {f"XDG_{kind}_HOME": str(home / kind) for kind in ("DATA", "STATE", "CACHE")}
    base = {"HOME": str(home), "PWD": str(directory), "PATH": os.environ["PATH"]}
    answer = subprocess.run(
        [opencode, "debug", "skill"],
        cwd=directory,
        env=base | data | switches | environ,
        capture_output=True,
        check=True,
        timeout=120,
    )
    skills: list[dict[str, str]] = json.loads(answer.stdout)
    return skills
