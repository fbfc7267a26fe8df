"""
The baseline of a ledger: when it was, and what had been counted by then.

Holds the ledger alone while it reads it, and changes nothing of what it says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opencode_exporter.counting.series import Labels, Value
from opencode_exporter.errors import LedgerDamagedError, LedgerError
from opencode_exporter.ledger.place import is_taken
from opencode_exporter.ledger.store import Store


@dataclass(frozen=True)
class Baseline:
    """A ledger at its baseline."""

    at_ms: int  # Unix
    totals: Mapping[str, Mapping[Labels, Value]]  # by metric
    skips: bool  # the history did not count: all began at 0
    slots: tuple[tuple[str, str], ...]  # names that are labels, by label
    salt: str


def baseline_of(path: Path) -> Baseline:
    """
    Return what a ledger knows of its baseline.

    Raises:
        LedgerError: There is none, it has no baseline yet, or it cannot be read.
    """
    try:
        # An empty file would be made one.
        if not is_taken(path) or not path.stat().st_size:
            raise LedgerError(
                f"there is no ledger {path}",
                hint="start the exporter first, or name its ledger with --ledger.path",
            )
        with contextlib.closing(Store(path)) as store:
            return _baseline(path, store)
    except OSError as err:
        raise LedgerError(
            f"the ledger {path} cannot be opened ({err.strerror})",
            hint="run this as the user who runs the exporter",
        ) from err
    except LedgerDamagedError as err:
        raise LedgerError(
            f"the ledger {path} is damaged", hint="start the exporter: it keeps this one aside"
        ) from err


def _baseline(path: Path, store: Store) -> Baseline:
    meta = store.meta()
    if "baseline_ms" not in meta:
        raise LedgerError(
            f"the ledger {path} has not counted the history yet",
            hint="let the exporter run until it is ready",
        )
    totals: dict[str, dict[Labels, Value]] = {}
    for metric, labels, value in store.baseline():
        totals.setdefault(metric, {})[labels] = value
    return Baseline(
        at_ms=int(meta["baseline_ms"]),
        totals=totals,
        skips=meta.get("history") == "skip",
        slots=tuple(store.slots()),
        salt=meta["salt"],
    )
