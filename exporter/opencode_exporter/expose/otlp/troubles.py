"""Troubles with an endpoint, as the log tells them: once in a while, and when they are over."""

from __future__ import annotations

import logging

from opencode_exporter.clock import Clock, LineLimit


class Lasting(str):
    """A cause that does not pass by itself: it is told once, until something arrives."""

    __slots__ = ()


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
        self._limit = LineLimit()
        self._is_told = False
        self._cause = ""  # the last one that was told

    def ended(self, cause: str) -> None:
        """Note how a send ended; no cause: what was sent has arrived."""
        if cause:
            self._failed(cause)
        else:
            self._succeeded()

    def _succeeded(self) -> None:
        if self._is_told:
            self._log.info(
                self._over, extra={"endpoint": self._endpoint, "failures": self._failures}
            )
        self._is_told = False
        self._failures = 0

    def _failed(self, cause: str) -> None:
        self._failures += 1
        if self._is_told and isinstance(cause, Lasting) and cause == self._cause:
            return
        if self._limit.held_back(self._lost, self._clock.monotonic()) is not None:
            self._is_told = True
            self._cause = cause
            self._log.warning(
                self._lost,
                extra={"endpoint": self._endpoint, "err": cause, "failures": self._failures},
            )
