"""Values of JSON, leniently: what has an odd type is not there."""

from __future__ import annotations

import json
import math
from typing import Any


def obj(value: object) -> dict[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objs(value: object) -> list[dict[str, Any]]:
    """Return the objects of a JSON list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def word(*values: object, default: str = "_unknown") -> str:
    """Return the first text that is not empty."""
    return next((one for one in values if isinstance(one, str) and one), default)


def number(value: object) -> int | None:
    """Return a whole number, None for anything else."""
    return value if type(value) is int else None


def load(data: Any) -> dict[str, Any]:
    """Return a row's data, an empty object where they are none."""
    try:
        return obj(json.loads(data))
    except (TypeError, ValueError):
        return {}


def tokens(value: object) -> dict[str, int]:
    """Return the five kinds of tokens: "they do not overlap"; "negative numbers" are 0."""
    given = obj(value)
    cache = obj(given.get("cache"))
    named = {name: _count(given.get(name)) for name in ("input", "output", "reasoning")}
    both = {f"cache_{name}": _count(cache.get(name)) for name in ("read", "write")}
    return named | both


def _count(value: object) -> int:
    return max(number(value) or 0, 0)


def dollars(value: object) -> float:
    """Return a cost; what is no number, or less than 0, costs nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return max(float(value), 0.0) if math.isfinite(value) else 0.0
