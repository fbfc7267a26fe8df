"""
Units: numbers as people read them.

A rate is cut, never rounded up: what is not all is not 100 %.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

_SECOND: Final = 1.0
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_THOUSANDS: Final = ("", "k", "M", "G", "T")


def rate(share: float) -> str:
    """Return a share, 0 to 1, as a percentage."""
    tenths = int(share * 1000 + 1e-6)
    return f"{tenths // 10} %" if tenths in (0, 1000) else f"{tenths / 10:.1f} %"


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    for limit, size, unit in ((_SECOND, 0.001, "ms"), (_MINUTE, 1, "s"), (_HOUR, _MINUTE, "min")):
        # What would be rounded up to the limit belongs to the next unit.
        if _digits(seconds / size) < limit / size:
            return f"{_digits(seconds / size):g} {unit}"
    return f"{_digits(seconds / _HOUR):,g} h"


def _digits(value: float) -> float:
    return round(value, 1) if value < 10 else round(value)


def count(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def several(number: int, what: str) -> str:
    """Return how many there are of something."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def short(number: float, unit: str = "") -> str:
    """Return a large number with three digits or so: 12.3k."""
    size = 0
    while round(number, 1 if size else 0) >= 1000 and size < len(_THOUSANDS) - 1:
        number /= 1000
        size += 1
    text = f"{number:.1f}" if size and number < 100 else f"{number:.0f}"
    return f"{text} {_THOUSANDS[size]}{unit}" if unit else f"{text}{_THOUSANDS[size]}"


def dollars(amount: float) -> str:
    """Return an amount; small ones with the digits that they need."""
    if amount == 0:
        return "$0"
    if amount < 0.00005:
        return "<$0.0001"
    return f"${amount:.4f}" if amount < 0.1 else f"${amount:,.2f}"


def moment(when: str) -> str:
    """Return a time of the document in this machine's time zone, to the minute."""
    return f"{_local(when):%Y-%m-%d %H:%M}"


def zone(when: str) -> str:
    """Return how far this machine's time zone is from UTC at a time of the document."""
    local = _local(when)
    return f"UTC{local.isoformat()[-6:]}" if local.utcoffset() else "UTC"


def _local(when: str) -> datetime:
    return datetime.fromisoformat(when).astimezone()
