"""Chooses the writer of a generation, so that nobody else has to know both."""

from __future__ import annotations

from random import Random

from opencode_exporter.demo.rows import Put
from opencode_exporter.demo.writer_v1 import WriterV1
from opencode_exporter.demo.writer_v2 import WriterV2

Writer = WriterV1 | WriterV2
"""Gives planned work the shape of a generation; `WriterV1` says what its methods mean."""


def writer(generation: str, put: Put, rng: Random) -> Writer:
    """Return a writer of rows in the shape of that generation."""
    return WriterV1(put, rng) if generation == "v1" else WriterV2(put, rng)
