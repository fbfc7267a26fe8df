"""Databases that real OpenCode wrote, and what the scripted model had issued in them."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

from harness.places import RECORDINGS


def unpack(name: str, into: Path) -> Path:
    """Lay out a recording's files as OpenCode left them, and return the database."""
    into.mkdir(parents=True, exist_ok=True)
    for packed in (RECORDINGS / name).glob("*.xz"):
        (into / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    return into / "opencode.db"


def truth(name: str) -> dict[str, Any]:
    """Return what the scripted model had issued in a recording."""
    found: dict[str, Any] = json.loads((RECORDINGS / name / "truth.json").read_text("utf-8"))
    return found
