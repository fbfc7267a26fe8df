"""
What a sandbox holds before OpenCode starts: project, skills, configuration.

Everything lies under the sandbox's root and nothing comes from the user's own
home, so a recording says nothing about the machine it was made on.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from contract.recorder import mcp_server
from contract.recorder.apis import APIS
from contract.recorder.binaries import Binary

MODEL = "scripted/scripted-model"
PATCH_MODEL = "scripted/gpt-5-scripted"  # a name for which OpenCode offers its patch tool
OTHER_MODEL = "second/other-model"  # of another provider, at other prices
PRICES = {  # US dollars for a million tokens
    MODEL: {"input": 1.0, "output": 2.0, "cache_read": 0.25, "cache_write": 1.25},
    PATCH_MODEL: {"input": 1.0, "output": 2.0, "cache_read": 0.25, "cache_write": 1.25},
    OTHER_MODEL: {"input": 3.0, "output": 15.0, "cache_read": 0.5, "cache_write": 3.75},
}
PROJECT = "demo-project"
SKILLS = ("commit-style", "release-notes", "forbidden-ways")
_AUTHOR = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (
        ("NAME", "Demo"),
        ("EMAIL", "demo@example.org"),
        ("DATE", "2026-01-01T00:00Z"),
    )
}


def provision(root: Path, model_url: str, binary: Binary, api: str = "compat") -> None:
    """Fill a sandbox's root; what is there already stays, but for the configuration."""
    home, project = root / "home", root / PROJECT
    config = home / ".config" / "opencode"
    config.mkdir(parents=True, exist_ok=True)
    if not project.exists():
        _project(root, project)
        _skills(config / "skills")
        shutil.copyfile(mcp_server.__file__, root / "mcp_server.py")
    settings = _settings(model_url, root / "mcp_server.py", binary)
    settings["provider"]["scripted"]["npm"] = APIS[api].npm
    (config / "opencode.json").write_text(json.dumps(settings, indent=1))


def environment(root: Path) -> dict[str, str]:
    """Return the whole environment of an OpenCode process in a sandbox."""
    home = root / "home"
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "PWD": str(root / PROJECT),
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_RECORDER_ROOT": str(root),
    }


def _project(root: Path, project: Path) -> None:
    """Make a git repository with one commit: without one it has no project of its own."""
    project.mkdir(parents=True)
    (project / "greeting.txt").write_text("hello\nworld\n")
    (project / "main.py").write_text('print("hello")\n')
    (project / "long.txt").write_text("".join(f"line {number}\n" for number in range(3000)))
    (project / "emoji.txt").write_text("x" + "\N{GRINNING FACE}" * 30_000 + "\n")
    env = environment(root) | _AUTHOR
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Start"]):
        subprocess.run(["git", *arguments], cwd=project, env=env, check=True, timeout=30)


def _skills(folder: Path) -> None:
    for name in SKILLS:
        (folder / name).mkdir(parents=True)
        text = f"---\nname: {name}\ndescription: How we do {name}.\n---\n\nSteps of {name}.\n"
        (folder / name / "SKILL.md").write_text(text)


def _settings(model_url: str, mcp: Path, binary: Binary) -> dict[str, Any]:
    return {
        "$schema": "https://opencode.ai/config.json",
        "model": MODEL,
        "small_model": MODEL,
        "autoupdate": False,
        "share": "disabled",
        "provider": {name: _provider(name, model_url) for name in ("scripted", "second")},
        "permission": {
            "skill": {"*": "allow", "forbidden-ways": "deny"},
            "bash": {"*": "allow", "shutdown*": "deny", "reboot*": "ask"},
        },
        "agent": {"general": {"permission": {"task": "allow"}}},
        **_depth(binary),
        "mcp": {"demo": {"type": "local", "command": mcp_command(mcp), "enabled": True}},
    }


def mcp_command(server: Path) -> list[str]:
    """Return what starts the server, which imports nothing from beside it, where a model works."""
    return [sys.executable, "-I", str(server)]


def _depth(binary: Binary) -> dict[str, Any]:
    """Allow sub-agents of sub-agents, where a setting forbids them by default."""
    depth = {"subagent_depth": 3}
    if binary.is_v2:
        return {"experimental": depth}
    return depth if binary.numbers >= (1, 18) else {}


def _provider(name: str, model_url: str) -> dict[str, Any]:
    limits = {"tool_call": True, "limit": {"context": 200_000, "output": 8192}}
    models = {
        model: limits | {"cost": prices}
        for key, prices in PRICES.items()
        for provider, _, model in [key.partition("/")]
        if provider == name
    }
    return {
        "npm": APIS["compat"].npm,
        "name": name.title(),
        "options": {"baseURL": f"{model_url}/{name}/v1", "apiKey": "none"},
        "models": models,
    }
