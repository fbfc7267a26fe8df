"""Where to push, and as whom: what the standard environment says, and what it cannot say."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping

import pytest

from opencode_exporter import __version__
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.otlp.metrics_push import Sender
from opencode_exporter.expose.otlp.resource import resource_of
from opencode_exporter.expose.otlp.target import (
    Endpoint,
    SpanTarget,
    Target,
    span_target_of,
    target_of,
)

HERE = "http://127.0.0.1:4318"
OTLP = "OTEL_EXPORTER_OTLP_"
ON = {f"{OTLP}ENDPOINT": HERE}


def target(**more: str) -> Target:
    """Return the target of an environment that names one."""
    found = target_of(ON | more)
    assert found
    return found


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {f"{OTLP}ENDPOINT": ""},
        {f"{OTLP}METRICS_ENDPOINT": " "},
        {f"{OTLP}TRACES_ENDPOINT": HERE},
        ON | {"OTEL_SDK_DISABLED": "true"},
        ON | {"OTEL_SDK_DISABLED": "True "},
        ON | {"OTEL_METRICS_EXPORTER": "none"},
    ],
)
def test_nothing_is_pushed_unless_the_environment_says_so(environ: Mapping[str, str]) -> None:
    """No endpoint for metrics, the SDK disabled, or no exporter of metrics: no push."""
    assert target_of(environ) is None


def test_defaults_are_the_standard_ones() -> None:
    """HTTP and protobuf, below the base URL, once a minute."""
    found = target()
    assert found == Target("http/protobuf", f"{HERE}/v1/metrics", 60.0)
    assert found.gen_ai
    assert not found.host_name
    assert target(**{f"{OTLP}PROTOCOL": "", "OTEL_METRIC_EXPORT_INTERVAL": ""}) == found
    assert target(OTEL_SDK_DISABLED="false", OTEL_METRICS_EXPORTER="otlp") == found


def test_what_is_said_for_spans_wins_for_them() -> None:
    """Each signal has its own path, endpoint, protocol and switch; spans have a queue."""
    assert span_target_of({}) is None
    assert span_target_of({f"{OTLP}METRICS_ENDPOINT": HERE}) is None
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"):
        assert span_target_of(ON | {name: "true" if "SDK" in name else "none"}) is None
    assert target(OTEL_TRACES_EXPORTER="none") == target()
    assert span_target_of(ON) == SpanTarget("http/protobuf", f"{HERE}/v1/traces", 2048)
    more = ON | {f"{OTLP}TRACES_ENDPOINT": "http://other/here", f"{OTLP}TRACES_PROTOCOL": "grpc"}
    more |= {"OTEL_BSP_MAX_QUEUE_SIZE": "600", f"{OTLP}TRACES_COMPRESSION": "gzip"}
    found = span_target_of(more, host_name=True)
    assert found == SpanTarget("grpc", "http://other/here", 600, compressed=True, host_name=True)
    assert target(**more) == target()


@pytest.mark.parametrize("said", ["0", "-5", "1.5", "many", "٣"])
def test_queue_that_is_none_is_refused(said: str) -> None:
    """The sentence names the variable, its value and what to write."""
    with pytest.raises(ConfigError, match=r"OTEL_BSP_MAX_QUEUE_SIZE=.*how many") as caught:
        span_target_of(ON | {"OTEL_BSP_MAX_QUEUE_SIZE": said})
    assert said in str(caught.value)


def test_what_is_said_for_metrics_wins() -> None:
    """An endpoint for metrics is taken as it is, and their protocol before the general one."""
    more = {f"{OTLP}METRICS_ENDPOINT": "http://other/here"}
    assert target(**more).url == "http://other/here"
    more |= {f"{OTLP}PROTOCOL": "http/json", f"{OTLP}METRICS_PROTOCOL": "grpc"}
    assert target(**more).protocol == "grpc"
    assert target(**{f"{OTLP}PROTOCOL": "grpc"}).url == HERE  # no path is added
    assert target(OTEL_METRIC_EXPORT_INTERVAL="1500").interval_s == 1.5


@pytest.mark.parametrize("said", ["delta", "Delta", "lowmemory"])
def test_delta_is_noted_as_refused(said: str) -> None:
    """A preference for deltas is known, so that the log can say that it is not followed."""
    assert target(**{f"{OTLP}METRICS_TEMPORALITY_PREFERENCE": said}).refused == said.lower()
    assert not target(**{f"{OTLP}METRICS_TEMPORALITY_PREFERENCE": "cumulative"}).refused


@pytest.mark.parametrize("said", ["0", "99", "-5", "1m", "1.5", "nan", "٣٠٠٠"])
def test_interval_that_is_none_is_refused(said: str) -> None:
    """The sentence names the variable, its value and what to write."""
    with pytest.raises(ConfigError, match=r"OTEL_METRIC_EXPORT_INTERVAL=.*milliseconds") as caught:
        target(OTEL_METRIC_EXPORT_INTERVAL=said)
    assert said in str(caught.value)


def test_other_protocols_are_refused() -> None:
    """What we do not speak is named, with what we do."""
    with pytest.raises(ConfigError, match=r"'http/json' is not supported: .*http/protobuf or grpc"):
        target(**{f"{OTLP}PROTOCOL": "http/json"})


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("collector:4318", "'collector:4318' has no scheme"),
        ("collector", "'collector' has no scheme"),
        ("127.0.0.1:4318/v1", "has no scheme"),
        ("http:/collector:4318", "has no scheme"),
        ("//collector:4318", "has no scheme"),
        ("ftp://collector:4318", "has a scheme that is neither http nor https"),
        ("grpc://collector:4318", "has a scheme that is neither http nor https"),
        ('"http://collector:4318"', "has quotes in it"),
        ("'http://collector:4318'", "has quotes in it"),
        ('http://collector:4318"', "has quotes in it"),
        ("http://collector :4318", "has spaces or signs"),
        ("http://a http://b", "has spaces or signs"),
        ("http://collector\u200b:4318", "has spaces or signs"),
        ("http://collector\x1b[2J", "has spaces or signs"),
        ("http://", "has no host"),
        ("http:///v1", "has no host"),
        ("http://:4318", "has no host"),
        ("http://[::1:4318", "has no host"),
        ("http://${HOST}:4318", "has a host that cannot be one"),
        ("http://collector:43180000", "has a port that cannot be one"),
        ("http://collector:0", "has a port that cannot be one"),
        ("http://collector:", "has a port that cannot be one"),
        ("http://collector:port/v1", "has a port that cannot be one"),
    ],
)
@pytest.mark.parametrize("signal", ["", "METRICS_", "TRACES_"])
def test_endpoint_that_is_no_url_is_refused(url: str, wrong: str, signal: str) -> None:
    """The sentence names the variable, what is wrong with it, and what to write."""
    name = f"{OTLP}{signal}ENDPOINT"
    of_signal = span_target_of if signal == "TRACES_" else target_of
    with pytest.raises(ConfigError, match=rf"^{name} .*: write for example http://loc") as caught:
        of_signal(ON | {name: url})
    assert wrong in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://collector",
        "HTTPS://collector.example.org:4318/otlp/",
        "http://[::1]:4318",
        "http://[fe80::1%25eth0]:4318",
        "http://my_service-1:65535",
        "http://münchen.example:4318",
        "https://me:s3cret@example.org/a'b?key=%22",
    ],
)
def test_endpoint_that_is_a_url_is_taken(url: str) -> None:
    """Other ports, addresses, names and paths than the usual ones are nothing to refuse."""
    assert target(**{f"{OTLP}METRICS_ENDPOINT": url}).url == url


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        *((good, "") for good in ("http://a:4317", "https://a", "a:4317", "a", "[::1]:4317")),
        *((good, "") for good in ("dns:///a:4317", "unix:///run/a.sock", "unix:a", "ipv4:1.2.3.4")),
        ("http://", "has no host"),
        (":4317", "has no host"),
        ("a:43170000", "has a port that cannot be one"),
        ("a:port", "has a port that cannot be one"),
        ("ftp://a:4317", "has a scheme"),
        ('"a:4317"', "has quotes in it"),
        ("a :4317", "has spaces or signs"),
    ],
)
def test_endpoint_of_grpc_needs_no_scheme(url: str, wrong: str) -> None:
    """Over gRPC whatever gRPC takes is an endpoint, as the standard has it."""
    environ = {f"{OTLP}ENDPOINT": url, f"{OTLP}PROTOCOL": "grpc"}
    if not wrong:
        assert target(**environ).url == url
        return
    with pytest.raises(ConfigError, match=f"{OTLP}ENDPOINT .*{wrong}.*http://localhost:4317"):
        target(**environ)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:s3/c@ret@example.org/v1",
        "http://me:s3?cret@example.org/v1",
        "http://me:s3#cret@example.org:x",
        "me:s3cret@example.org",
        '"http://me:s3cret@example.org"',
        "ftp://example.org?key=s3cret",
        "hooks.example.org/services/s3cret",
        '"http://hooks.example.org/services/s3cret"',
    ],
)
def test_refusal_holds_no_credentials(url: str) -> None:
    """A password that makes a URL of it none is not told."""
    with pytest.raises(ConfigError) as caught:
        target(**{f"{OTLP}METRICS_ENDPOINT": url})
    assert "s3" not in str(caught.value)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages of gRPC the sentence says how to install them."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc", None)
    with pytest.raises(
        ConfigError, match=r"not installed: pip install 'opencode-exporter\[grpc\]'"
    ):
        Sender(target(**{f"{OTLP}PROTOCOL": "grpc"}))


def test_environment_that_the_exporter_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What OpenTelemetry's exporter cannot use is told with where to look."""
    monkeypatch.setenv(f"{OTLP}COMPRESSION", "zip")
    with pytest.raises(ConfigError, match=r"cannot be set up \(.*zip.*\): look at the OTEL_"):
        Sender(target(**{f"{OTLP}PROTOCOL": "grpc", f"{OTLP}COMPRESSION": "zip"}))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://otlp.example.org/v1/metrics", "https://otlp.example.org/v1/metrics"),
        ("https://otlp.example.org/s3/v1/traces/", "https://otlp.example.org/.../v1/traces/"),
        ("https://hooks.example.org/services/s3cret", "https://hooks.example.org/..."),
        ("https://example.org/", "https://example.org/"),
        ("https://me:s3cret@example.org:4318/v1/metrics", "https://example.org:4318/v1/metrics"),
        ("https://me:s3/c@ret@example.org/v1", "https://example.org/..."),
        ("https://example.org?key=s3cret#s3cret", "https://example.org"),
        ("https://me:s3?cret@example.org/v1", "(hidden)"),
        ("me:s3cret@example.org:4317", "example.org:4317"),
        ("localhost:4317", "localhost:4317"),
        ("localhost:4317/s3cret", "localhost:4317/..."),
        ("[::1]:4317/s3cret", "[::1]:4317/..."),
        ("unix:///run/otel.sock", "unix:///run/otel.sock"),
        ("dns:///localhost:4317", "dns:///localhost:4317"),
        ('"https://example.org/s3cret', '"https://example.org/...'),
        ("https:/example.org/s3cret", "https:/example.org/..."),
        ("//example.org/s3\ncret", "//example.org/..."),
    ],
)
def test_endpoint_is_shown_without_secrets(url: str, shown: str) -> None:
    """
    What the log says of the endpoint holds no name, no password, no query and no key.

    A path can be a key, as those of webhooks are: of it there is what OTLP itself says.
    """
    found = Endpoint("http/protobuf", url)
    assert found.shown == shown
    assert "s3" not in repr(found)


def test_resource_is_ours_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Name, version and instance have defaults; the machine's name is there only if asked for."""
    assert dict(resource_of("7", host_name=False).attributes) == {
        "service.name": "opencode-exporter",
        "service.version": __version__,
        "service.instance.id": "7",
    }
    named = resource_of("7", host_name=True).attributes
    assert named["host.name"] == socket.gethostname()
    said = "service.instance.id=laptop,team=a%20b,service.name=x"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", said)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    assert dict(resource_of("7", host_name=False).attributes) == {
        "service.name": "ours",
        "service.version": __version__,
        "service.instance.id": "laptop",
        "team": "a b",
    }
