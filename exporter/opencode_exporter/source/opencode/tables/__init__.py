"""
Tables: which ones a source has, by its generations.

The only place where both generations meet; the tailer does not know which of
them it reads.
"""

from __future__ import annotations

from opencode_exporter.clock import Clock
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.tables.message_v1 import StepTable
from opencode_exporter.source.opencode.tables.part_v1 import PartTable
from opencode_exporter.source.opencode.tables.session_message_v2 import MessageTable
from opencode_exporter.source.opencode.tables.table import Table


def tables(reader: Reader, clock: Clock, *, with_paths: bool = False) -> tuple[Table, ...]:
    """
    Return the tables to tail, v1 first: an upgrade copies from v1 to v2.

    Calls come before the steps that hold them.

    Args:
        reader: The open source.
        clock: Tells the time.
        with_paths: Whether steps tell the paths of files that they change.
    """
    found: list[Table] = []
    if "v1" in reader.layout.sessions:
        found.append(PartTable(reader, clock))
        found.append(StepTable(reader, clock, with_paths=with_paths))
    if "v2" in reader.layout.sessions:
        found.append(MessageTable(reader, clock, with_paths=with_paths))
    return tuple(found)
