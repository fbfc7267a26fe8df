"""
The target: where to push, as the standard environment says.

Reads the environment only through the mapping that it is given, and needs nothing of
OpenTelemetry, so that a run that does not push costs nothing.  Headers, compression,
timeout and certificates are not here: the exporter of OpenTelemetry reads them itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

from opencode_exporter.errors import ConfigError

Protocol = Literal["http/protobuf", "grpc"]

_PREFIX: Final = "OTEL_EXPORTER_OTLP"
_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_INTERVAL_MS: Final = 60_000
_LEAST_MS: Final = 100  # each push begins with a poll


@dataclass(frozen=True)
class Target:
    """Where to push, how often, and what beside the metrics."""

    protocol: Protocol
    url: str = field(repr=False)  # may hold credentials
    interval_s: float
    compressed: bool = False
    certified: bool = False  # a file says whom to trust
    refused: str = ""  # the temporality that was asked for and is not sent
    gen_ai: bool = True  # the metrics of the GenAI conventions, too
    host_name: bool = False  # in the resource

    @property
    def shown(self) -> str:
        """The URL without the credentials that it may hold."""
        plain = re.split(r"[?#]", self.url)[0]
        if "@" in self.url[len(plain) :]:
            return "(hidden)"  # what stands before the mark may be half of a password
        return re.sub(r"^(\w[\w+.-]*://)?.*@", r"\1", plain)


def target_of(
    environ: Mapping[str, str], *, gen_ai: bool = True, host_name: bool = False
) -> Target | None:
    """
    Return the target, or None if the environment names none or switches pushing off.

    Raises:
        ConfigError: A variable cannot be used.
    """
    url = _said(environ, "ENDPOINT")
    switched_off = (
        environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        or environ.get("OTEL_METRICS_EXPORTER", "").strip().lower() == "none"
    )
    if not url or switched_off:
        return None
    protocol = _protocol(environ)
    if protocol == "http/protobuf" and not _of_metrics(environ, "ENDPOINT"):
        url = f"{url.removesuffix('/')}/v1/metrics"
    temporality = _of_metrics(environ, "TEMPORALITY_PREFERENCE").lower()
    return Target(
        protocol,
        url,
        _interval_ms(environ) / 1000,
        compressed=_said(environ, "COMPRESSION").lower() not in ("", "none"),
        certified=bool(_said(environ, "CERTIFICATE")),
        refused=temporality if temporality in ("delta", "lowmemory") else "",
        gen_ai=gen_ai,
        host_name=host_name,
    )


def _of_metrics(environ: Mapping[str, str], name: str) -> str:
    return environ.get(f"{_PREFIX}_METRICS_{name}", "").strip()


def _said(environ: Mapping[str, str], name: str) -> str:
    """Return what is said for metrics, else what is said for everything; empty is unset."""
    return _of_metrics(environ, name) or environ.get(f"{_PREFIX}_{name}", "").strip()


def _protocol(environ: Mapping[str, str]) -> Protocol:
    said = _said(environ, "PROTOCOL").lower() or "http/protobuf"
    if said not in get_args(Protocol):
        raise ConfigError(
            f"OTLP protocol {said!r} is not supported",
            hint=f"set {_PREFIX}_PROTOCOL to http/protobuf or grpc",
        )
    return cast("Protocol", said)


def _interval_ms(environ: Mapping[str, str]) -> int:
    said = environ.get(_INTERVAL, "").strip() or str(_INTERVAL_MS)
    if not re.fullmatch(r"\d{1,12}", said, re.ASCII) or int(said) < _LEAST_MS:
        raise ConfigError(
            f"{_INTERVAL}={said!r} is not an interval",
            hint=f"write milliseconds, {_LEAST_MS} or more, for example {_INTERVAL_MS}",
        )
    return int(said)
