"""The compose files as docker-compose reads them."""

from __future__ import annotations

import subprocess
from typing import Any

import yaml

from harness.places import DEPLOY
from harness.real_tools import real_tool


def composed(env: str) -> dict[str, Any]:
    """Return what docker-compose makes of the file, with profiles and paths filled in."""
    command = [
        *(real_tool("docker-compose"), f"--file={DEPLOY / 'compose.yaml'}"),
        *(f"--env-file={DEPLOY / env}", "config"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found
