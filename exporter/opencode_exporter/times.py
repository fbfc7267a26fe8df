"""
Times of the source: which of them can be, and how long something lasted.

Pure.  Both generations and every time go through here.  Clocks are wrong in the field:
a machine begins in 1970 and learns the time while a call runs, another has stood in
2098.  A time that cannot be is as if it were not recorded; a sum takes it for ever.
"""

from __future__ import annotations

from typing import Final

DAY_MS: Final = 86_400_000
SENSIBLE_MS: Final = 1_577_836_800_000
"""What is older, OpenCode cannot have written: 2020 began."""
_LAST_MS: Final = 253_402_300_800_000
"""What is not older, no clock will ever show: the year 10000."""
NOT_MEASURED: Final = -1
_SLACK_MS: Final = 60_000  # processes and rows of one machine may be that far apart


def believable(value: object, now: int) -> int:
    """
    Return a time in Unix milliseconds, 0 for what is none.

    A clock may be wrong by a little; a time more than a day ahead of now is not one of
    ours to believe.
    """
    found = value if type(value) is int else _number(value)
    return found if 0 < found < now + DAY_MS else 0


def awaited(now: int, *values: object) -> int:
    """
    Return when our clock will have passed some times, if one is too far ahead to be believed.

    It may be our clock that is wrong: it stands in 1970 until it learns the time.

    Returns:
        Unix ms; 0 where there is nothing to wait for.
    """
    soon, latest = now + DAY_MS, 0
    for value in values:
        if value is None or (type(value) is int and value < soon):  # nearly all of them
            continue
        found = _number(value)
        if soon <= found < _LAST_MS:
            latest = max(latest, found)
    return latest


def _number(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def passed(value: object, now: int) -> int:
    """
    Return the time of an end as `believable` does: nothing has ended after now.

    Clocks of processes may differ by a little; what is further ahead is taken for now.
    """
    found = believable(value, now)
    return found if found <= now + _SLACK_MS else now


def lasted(start: int, end: int, message: int = 0) -> int:
    """
    Return the milliseconds from a start to an end, `NOT_MEASURED` where they cannot be.

    Nothing ends before it starts.  What started before there was an OpenCode and ended
    since has seen its clock being set, and so has a call that is older than its message
    and ended after that had been made.

    Args:
        start: When it began.
        end: When it was over.
        message: When its message was made; 0 where that says nothing.
    """
    if not 0 < start <= end or start < SENSIBLE_MS <= end:
        return NOT_MEASURED
    if start < message - _SLACK_MS and message <= end:
        return NOT_MEASURED
    return end - start
