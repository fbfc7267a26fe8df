"""Troubles with an endpoint, as the log tells them: once in a while, and when they are over."""

from __future__ import annotations

import logging
import math
from typing import Final

from opencode_exporter.waker import Clock

_REPEAT_S: Final = 30.0


class Troubles:
    """
    Failures of what is sent to one endpoint.

    Args:
        log: Where they are told.
        clock: A stopwatch.
        endpoint: As it may be shown.
        lost: The line that tells of a failure.
        over: The line that tells of the first success after it.
    """

    def __init__(
        self, log: logging.Logger, clock: Clock, endpoint: str, *, lost: str, over: str
    ) -> None:
        self._log = log
        self._clock = clock
        self._endpoint = endpoint
        self._lost = lost
        self._over = over
        self._failures = 0  # in a row
        self._told = -math.inf  # when the log last heard of a failure
        self._is_told = False

    def succeeded(self) -> None:
        """Note that something has arrived."""
        if self._is_told:
            self._log.info(
                self._over, extra={"endpoint": self._endpoint, "failures": self._failures}
            )
        self._is_told = False
        self._failures = 0

    def failed(self, cause: str) -> None:
        """Note that something has not."""
        self._failures += 1
        now = self._clock.monotonic()
        if now - self._told >= _REPEAT_S:
            self._told = now
            self._is_told = True
            self._log.warning(
                self._lost,
                extra={"endpoint": self._endpoint, "err": cause, "failures": self._failures},
            )
