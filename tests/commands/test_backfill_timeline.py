"""The timeline of a backfill: what could not be added to it is missed at the end."""

from __future__ import annotations

import pytest

from opencode_exporter import catalog as c
from opencode_exporter.commands.backfill.timeline import Timeline
from opencode_exporter.errors import LedgerError


def test_a_timeline_with_a_gap_is_not_finished() -> None:
    """What failed while silent turns were ended was left to a next poll, which never came."""
    with Timeline() as timeline:
        timeline._db.execute("ALTER TABLE added RENAME TO away")
        with pytest.raises(LedgerError, match="cannot be used"):
            timeline.add(1, {(c.COMPACTIONS.name, ("auto",)): 1})
        timeline._db.execute("ALTER TABLE away RENAME TO added")
        with pytest.raises(LedgerError, match="cannot be used"):
            timeline.finish()
