"""
The sender: one endpoint, by the exporter of OpenTelemetry.

That one retries within its timeout and logs each try.  Here its lines are heard
instead of written, and what they say comes back as one cause, without credentials.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from opencode_exporter.errors import ConfigError
from opencode_exporter.otlp.target import Target

log = logging.getLogger(__name__)

_THEIRS: Final = logging.getLogger("opentelemetry")
_POINTS: Final = 5000  # in a request: gRPC receivers refuse more than 4 MiB, unless told
_SAYS_NOTHING: Final = "due to timeout, max retries or shutdown"
_NOBODY: Final = "it could not be reached, or did not answer, within the timeout"
_LONGEST: Final = 300


class Sender:
    """
    Sends data points to a target.  One thread at a time may send.

    Raises:
        ConfigError: A package is missing, or the environment cannot be used.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._heard = _Heard()
        self._heard.listen()
        try:
            self._exporter = _exporter(target)
        except Exception as err:
            self._heard.close()
            if isinstance(err, ConfigError):
                raise
            raise ConfigError(
                f"OTLP cannot be set up ({self._cleaned(str(err))})",
                hint="look at the OTEL_EXPORTER_OTLP_* variables",
            ) from err
        for record in self._heard.taken():
            log.warning("OTLP setting is not used", extra={"err": self._cleaned(_text(record))})

    def send(self, data: MetricsData) -> str:
        """Send; return an empty text, or why they did not arrive."""
        self._heard.taken()
        try:
            result = self._exporter.export(data)
        except Exception as err:  # noqa: BLE001  # whatever it is, the next push has it all
            return self._cleaned(_root(err))
        if result is MetricExportResult.SUCCESS:
            return ""
        return self._cleaned(_cause(self._heard.taken()))

    def close(self) -> None:
        """End a send that waits for its next try, from any thread; then nothing is sent."""
        if not self._heard.is_closed:
            self._exporter.shutdown()
            self._heard.close()

    def _cleaned(self, text: str) -> str:
        """Return the first line of a text, and nothing of it that is a secret of the URL."""
        line = text.replace(self._target.url, self._target.shown).partition("\n")[0]
        line = re.sub(r"[^\s/'\"(]*@", "", line)
        return re.sub(r"\?[^\s'\"]*", "", line)[:_LONGEST]


def _exporter(target: Target) -> MetricExporter:
    if target.protocol == "http/protobuf":
        if target.certified:
            # Theirs would win over the certificate that was named for this very endpoint.
            for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
                os.environ.pop(name, None)
        return OTLPMetricExporter(max_export_batch_size=_POINTS)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes to stderr past any log
    try:
        from grpc import Compression  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter  # noqa: PLC0415
    except ModuleNotFoundError as err:
        raise ConfigError(
            "OTLP over gRPC needs packages that are not installed",
            hint="pip install 'opencode-exporter[grpc]', or OTEL_EXPORTER_OTLP_PROTOCOL="
            "http/protobuf",
        ) from err
    # Left to the environment it refuses "none", which is a standard value.
    compression = None if target.compressed else Compression.NoCompression
    return metric_exporter.OTLPMetricExporter(
        compression=compression, max_export_batch_size=_POINTS
    )


class _Heard(logging.Handler):
    """Takes the lines of OpenTelemetry's loggers, so that they do not reach the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.is_closed = False
        self._records: list[logging.LogRecord] = []

    def listen(self) -> None:
        """Take every line from now on."""
        _THEIRS.addHandler(self)
        _THEIRS.propagate = False
        _THEIRS.setLevel(logging.WARNING)  # the log's level is no matter: causes are in these
        # Its lines name the URL, and that may hold a key.
        logging.getLogger("urllib3").setLevel(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._records.append(record)

    def taken(self) -> list[logging.LogRecord]:
        """Return the lines since the last call."""
        records, self._records = self._records, []
        return records

    def close(self) -> None:
        """Let the lines pass again."""
        self.is_closed = True
        _THEIRS.removeHandler(self)
        _THEIRS.propagate = True
        _THEIRS.setLevel(logging.NOTSET)
        super().close()


def _cause(records: list[logging.LogRecord]) -> str:
    """Return what the lines of a failed export came to; the last one that says something."""
    texts = [_text(record) for record in records]
    return next((text for text in reversed(texts) if _SAYS_NOTHING not in text), _NOBODY)


def _text(record: logging.LogRecord) -> str:
    if record.name == "opentelemetry.util.re":
        return "a header is not of the form name=value"  # the line holds it, and maybe a key
    for value in record.args if isinstance(record.args, tuple) else ():
        if isinstance(value, BaseException):
            return _root(value)
    return re.sub(r", retrying in [\d.]+s", "", record.getMessage())


def _root(err: BaseException) -> str:
    """Return what the first of a chain of errors says: later ones name objects and URLs."""
    while (before := err.__cause__ or err.__context__) is not None:
        err = before
    return str(err) or type(err).__name__
