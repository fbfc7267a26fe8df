"""
The demo's world: projects, models, agents, skills, commands.

All of it is invented.  The skills are chosen so that a dashboard has something
to show: one that never fails, one that often does, a slow one, one that a rule
denies now and then, two that nobody ever uses, and one that always loaded in the
past and never does once the demo lives, so that an alert can be seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opencode_exporter.demo.plan import Fault, Model, Project, Skill

HOME: Final = "/home/demo"

PROJECTS: Final = (
    Project("6f0c1d9b2a7e4c5d8e9f00112233445566778899", f"{HOME}/src/lighthouse"),
    Project("0a1b2c3d4e5f60718293a4b5c6d7e8f901234567", f"{HOME}/src/orchard-api"),
    Project("c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00", f"{HOME}/src/paper-boats"),
    Project("global", f"{HOME}/scratch"),
)
PROJECT_WEIGHTS: Final = (5, 4, 2, 1)

MODELS: Final = (
    Model("northwind", "aurora-large", 3.0, 15.0),
    Model("northwind", "aurora-mini", 0.4, 2.0),
    Model("tidewater", "reef-2", 1.25, 10.0, patches=True),
    Model("homelab", "cedar-coder", 0.0, 0.0, counts_calls=True),
)
MODEL_WEIGHTS: Final = (6, 3, 3, 1)

AGENTS: Final = ("build", "plan")
AGENT_WEIGHTS: Final = (5, 1)

SKILLS: Final = (
    Skill("commit-style", "How commit messages are written here.", 30, 18),
    Skill("release-notes", "Turns merged work into notes.", 14, 30, ((Fault.INTERRUPTED, 0.02),)),
    Skill(
        "incident-timeline",
        "Rebuilds the timeline of an incident.",
        12,
        55,
        ((Fault.RIPGREP, 0.14), (Fault.NETWORK, 0.12), (Fault.MISSING_SKILL, 0.08)),
    ),
    Skill("test-triage", "Sorts failing tests by cause.", 16, 26, ((Fault.NETWORK, 0.05),)),
    Skill("api-contracts", "Checks changes against the API contract.", 9, 6_500),
    Skill("deploy-checklist", "What to do before a deploy.", 9, 40, ((Fault.DENIED, 0.25),)),
    Skill("frontend-review", "Reviews a change to the user interface.", 10, 33),
    Skill("query-tuning", "Finds slow queries and fixes them.", 7, 48, ((Fault.RIPGREP, 0.08),)),
)
BROKEN: Final = "frontend-review"
"""The skill that does not load any more once the demo lives."""
UNUSED_SKILLS: Final = (
    Skill("terraform-drift", "Compares the plan with what is running.", 0, 0),
    Skill("accessibility-audit", "Walks a page with a screen reader's eyes.", 0, 0),
)

# command, weight, median ms, share that exits non-zero
COMMANDS: Final = (
    ("git status", 16, 60, 0.0),
    ("git diff --stat", 12, 80, 0.0),
    ("git log --oneline -20", 7, 70, 0.0),
    ("uv run pytest -q", 16, 2_600, 0.32),
    ("npm test", 10, 4_200, 0.28),
    ("npm run lint", 7, 1_800, 0.15),
    ("cargo build", 6, 7_000, 0.12),
    ("make check", 6, 2_200, 0.2),
    ("rg -n retry src", 6, 45, 0.1),
    ("ls -la", 9, 12, 0.0),
    ("docker compose ps", 4, 700, 0.08),
    ("curl -s http://localhost:8080/health", 4, 250, 0.2),
    ("./scripts/warm-up.sh", 2, 1_500, 0.1),
)


def write_skills(directory: Path) -> None:
    """Write the skills, the unused ones too, below ``directory/config/opencode/skills``."""
    for skill in SKILLS + UNUSED_SKILLS:
        folder = directory / "config" / "opencode" / "skills" / skill.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "SKILL.md").write_text(
            f"---\nname: {skill.name}\ndescription: {skill.description}\n---\n\n"
            f"# {skill.name}\n\nA skill of the demo. It does nothing.\n",
            encoding="utf-8",
        )
