"""
What a step used: tokens and dollars, as both generations write them.

Pure.  What cannot be a number of that kind is as if it were not there.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from opencode_exporter.decode.values import amount, mapping
from opencode_exporter.events import Tokens

_USD: Final = 10**10
"""A dollar in the unit of `Step.cost`."""
_DEAREST: Final = 10**6
"""US dollars of one step: what costs more is no cost."""


class Cache(msgspec.Struct, gc=False):
    """Tokens that were read from a provider's cache, and written to it."""

    read: Any = None
    write: Any = None


class Used(msgspec.Struct, gc=False):
    """The tokens of a step, as OpenCode writes them."""

    input: Any = None
    output: Any = None
    reasoning: Any = None
    cache: Cache | None = None


def used_leniently(value: object) -> Used:
    """Return the tokens of a row that was read leniently."""
    found = mapping(value)
    cache = mapping(found.get("cache"))
    return Used(
        found.get("input"),
        found.get("output"),
        found.get("reasoning"),
        Cache(cache.get("read"), cache.get("write")),
    )


def tokens_of(used: Used | None) -> Tokens:
    """Return tokens by type."""
    if used is None:
        return Tokens()
    cache = used.cache or Cache()
    return Tokens(
        amount(used.input),
        amount(used.output),
        amount(used.reasoning),
        amount(cache.read),
        amount(cache.write),
    )


def cost_of(dollars: object) -> int:
    """Return a cost in 10**-10 US dollars."""
    if type(dollars) not in (int, float) or not 0 < dollars < _DEAREST:  # type: ignore[operator]
        return 0
    return round(dollars * _USD)  # type: ignore[operator]
