"""
The target: where to push, as the standard environment says.

Reads the environment only through the mapping that it is given, and needs nothing of
OpenTelemetry, so that a run that does not push costs nothing.  Headers, compression,
timeout and certificates are not here: the exporters of OpenTelemetry read them themselves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.otlp.secrets import hidden
from opencode_exporter.expose.otlp.url import refuse, shown

Protocol = Literal["http/protobuf", "grpc"]
Signal = Literal["metrics", "traces"]

_PREFIX: Final = "OTEL_EXPORTER_OTLP"
_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_INTERVAL_MS: Final = 60_000
_LEAST_MS: Final = 100  # each push begins with a poll
_QUEUE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
_QUEUE_SPANS: Final = 2048


@dataclass(frozen=True)
class Endpoint:
    """
    Where one signal goes, and how.

    Attributes:
        hidden: What stands in the log for which words, the longest first.
    """

    protocol: Protocol
    url: str = field(repr=False)  # may hold credentials
    compressed: bool = field(default=False, kw_only=True)
    certified: bool = field(default=False, kw_only=True)  # a file says whom to trust
    host_name: bool = field(default=False, kw_only=True)  # in the resource
    hidden: Mapping[str, str] = field(default_factory=dict, kw_only=True, repr=False, compare=False)
    provider: str = field(default="", kw_only=True)  # the plugin that knows credentials

    @property
    def shown(self) -> str:
        """The URL as far as it can hold no secret."""
        return shown(self.url)

    @property
    def viewer(self) -> str:
        """The name of the endpoint as a viewer: a hash of its URL."""
        return f"push {hashlib.blake2b(self.url.encode(), digest_size=8).hexdigest()}"


@dataclass(frozen=True)
class Target(Endpoint):
    """Where to push metrics, how often, and what beside them."""

    interval_s: float
    refused: str = ""  # the temporality that was asked for and is not sent
    gen_ai: bool = True  # the metrics of the GenAI conventions, too


@dataclass(frozen=True)
class SpanTarget(Endpoint):
    """Where to send spans, and how many may wait for it."""

    queue: int


def target_of(
    environ: Mapping[str, str], *, gen_ai: bool = True, host_name: bool = False
) -> Target | None:
    """
    Return the target, or None if the environment names none or switches pushing off.

    Raises:
        ConfigError: A variable cannot be used.
    """
    found = _endpoint(environ, "metrics", host_name=host_name)
    if found is None:
        return None
    temporality = _of_signal(environ, "metrics", "TEMPORALITY_PREFERENCE").lower()
    return Target(
        **vars(found),
        interval_s=_interval_ms(environ) / 1000,
        refused=temporality if temporality in ("delta", "lowmemory") else "",
        gen_ai=gen_ai,
    )


def span_target_of(environ: Mapping[str, str], *, host_name: bool = False) -> SpanTarget | None:
    """
    Return the target of spans, or None if the environment names none or switches them off.

    Raises:
        ConfigError: A variable cannot be used.
    """
    found = _endpoint(environ, "traces", host_name=host_name)
    return SpanTarget(**vars(found), queue=_queue(environ)) if found else None


def _endpoint(environ: Mapping[str, str], signal: Signal, *, host_name: bool) -> Endpoint | None:
    url = _said(environ, signal, "ENDPOINT")
    switched_off = (
        environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        or environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none"
    )
    if not url or switched_off:
        return None
    protocol = _protocol(environ, signal)
    own = bool(_of_signal(environ, signal, "ENDPOINT"))
    name = f"{_PREFIX}_{signal.upper()}_ENDPOINT" if own else f"{_PREFIX}_ENDPOINT"
    refuse(name, url, grpc=protocol == "grpc")
    if protocol == "http/protobuf" and not own:
        url = f"{url.removesuffix('/')}/v1/{signal}"
    return Endpoint(
        protocol,
        url,
        compressed=_said(environ, signal, "COMPRESSION").lower() not in ("", "none"),
        certified=bool(_said(environ, signal, "CERTIFICATE")),
        host_name=host_name,
        hidden=hidden(environ, signal, url),
        provider=_provider(environ, signal),
    )


def _provider(environ: Mapping[str, str], signal: Signal) -> str:
    names = (f"HTTP_{signal.upper()}", "HTTP")
    said = (environ.get(f"OTEL_PYTHON_EXPORTER_OTLP_{name}_CREDENTIAL_PROVIDER") for name in names)
    return next((one.strip() for one in said if one and one.strip()), "")


def _of_signal(environ: Mapping[str, str], signal: Signal, name: str) -> str:
    return environ.get(f"{_PREFIX}_{signal.upper()}_{name}", "").strip()


def _said(environ: Mapping[str, str], signal: Signal, name: str) -> str:
    """Return a variable of a signal, else the variable of all signals; empty counts as unset."""
    return _of_signal(environ, signal, name) or environ.get(f"{_PREFIX}_{name}", "").strip()


def _protocol(environ: Mapping[str, str], signal: Signal) -> Protocol:
    said = _said(environ, signal, "PROTOCOL").lower() or "http/protobuf"
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


def _queue(environ: Mapping[str, str]) -> int:
    said = environ.get(_QUEUE, "").strip() or str(_QUEUE_SPANS)
    if not re.fullmatch(r"\d{1,7}", said, re.ASCII) or not int(said):
        raise ConfigError(
            f"{_QUEUE}={said!r} is not a number of spans",
            hint=f"write how many may wait to be sent, for example {_QUEUE_SPANS}",
        )
    return int(said)
