"""
Invented text of any length: prose, code, logs.

Built once from short word lists and then only cut, so that a long output costs
no more than a slice.  Means nothing and names nobody.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Final

_NOUNS: Final = [
    "basket",
    "lantern",
    "harbour",
    "meadow",
    "kettle",
    "ribbon",
    "compass",
    "orchard",
    "puddle",
    "window",
    "ladder",
    "pebble",
    "bridge",
    "garden",
    "teapot",
    "violin",
    "button",
    "pillow",
    "marble",
    "feather",
]
_VERBS: Final = [
    "count",
    "paint",
    "carry",
    "measure",
    "polish",
    "gather",
    "sort",
    "water",
    "fold",
    "mend",
    "stack",
    "trace",
    "label",
    "open",
]
_WIDE: Final = [
    "café",
    "naïve",
    "東京",
    "приве́т",
    "🍐",
    "ñandú",
    "—",
    "“quoted”",
    "✓",
    "straße",
    "Ελλάδα",
]
_SIZE: Final = 120_000


def _line(rng: Random, wide: bool) -> str:
    noun, verb, number = rng.choice(_NOUNS), rng.choice(_VERBS), rng.randrange(10_000)
    other = rng.choice(_WIDE) if wide else rng.choice(_NOUNS)
    return rng.choice(
        (
            f'    {noun} = {verb}_{other}({number}, "{other}")',
            f"def {verb}_{noun}(amount: int = {number}) -> None:",
            f"# {verb.capitalize()} every {noun} before the {other} is {verb}ed.",
            f"2026-05-{1 + number % 28:02} INFO {noun}: {verb} finished in {number} ms ({other})",
            f"src/{noun}/{verb}.py:{number % 900}: {other}",
            f"\tif {noun} > {number}: return {{ {verb}: '{other}' }}",
            f"ok {number} {verb} the {noun} and the {other}",
        )
    )


@cache
def _corpus(*, wide: bool) -> str:
    rng = Random(1807)  # noqa: S311  # text for a demo, no secret
    lines: list[str] = []
    size = 0
    while size < _SIZE:
        lines.append(_line(rng, wide))
        size += len(lines[-1]) + 1
    return "\n".join(lines)


def cut(rng: Random, size: int) -> str:
    """Return a text of `size` characters; one in twelve is not all ASCII."""
    corpus = _corpus(wide=rng.random() < 1 / 12)
    start = int(rng.random() * max(1, len(corpus) - size))
    return corpus[start : start + size]


def sentence(rng: Random) -> str:
    """Return a short request, as a user would type it."""
    return (
        f"{rng.choice(_VERBS).capitalize()} the {rng.choice(_NOUNS)} "
        f"and then {rng.choice(_VERBS)} each {rng.choice(_NOUNS)}."
    )


def noun(rng: Random) -> str:
    """Return a word to name things with."""
    return rng.choice(_NOUNS)


def verb(rng: Random) -> str:
    """Return a word for what is done with them."""
    return rng.choice(_VERBS)
