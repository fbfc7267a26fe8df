"""The pages: what they show, and how they are negotiated."""

from __future__ import annotations

import gzip
import logging
import socket
import time
from email.utils import parsedate_to_datetime

import pytest

from harness.waiting import wait_for
from harness.web_server import (
    CONTENT_TYPE,
    PAGE,
    FakeBackend,
    client_of,
    endpoint,
    get_raw,
    serving,
)
from opencode_exporter.errors import ConfigError
from opencode_exporter.web.app import create_app, scrape_wait_s
from opencode_exporter.web.hosts import Hosts
from opencode_exporter.web.landing import LandingRow
from opencode_exporter.web.middleware import accepts_gzip
from opencode_exporter.web.web_config import WebConfigHolder


def test_metrics_come_as_the_backend_rendered_them() -> None:
    """Body and content type are the backend's, with a date and without a server name."""
    with serving() as server, client_of(server) as client:
        response = client.get("/metrics?name[]=x&%00=%ff&&&")
    assert (response.status_code, response.content) == (200, PAGE)
    assert response.headers["content-type"] == CONTENT_TYPE
    assert response.headers["vary"] == "Accept"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert abs(parsedate_to_datetime(response.headers["date"]).timestamp() - time.time()) < 5
    assert "server" not in response.headers


def test_health_and_readiness() -> None:
    """A living process is healthy; it is ready only when the backend says so."""
    backend = FakeBackend()
    with serving(backend) as server, client_of(server) as client:
        assert client.get("/-/ready").status_code == 200
        backend.why_not = "history is being read, 43 %"
        response = client.get("/-/ready")
        assert (response.status_code, response.text) == (503, "history is being read, 43 %\n")
        assert client.get("/-/healthy").text == "OK\n"


def test_landing_page_shows_sources_and_escapes_them() -> None:
    """Names and paths come from outside: none of them becomes markup."""
    backend = FakeBackend()
    backend.rows = (LandingRow("opencode.db", "/home/<b>$name</b>", 'read "now"'),)
    backend.why_not = "history <43 %>"
    with serving(backend, telemetry_path="/a&b") as server, client_of(server) as client:
        response = client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    for text in (
        "1.2.3",
        "Counts &lt;things&gt;",
        "/home/&lt;b&gt;$name&lt;/b&gt;",
        "read &quot;now&quot;",
        "history &lt;43 %&gt;",
        'href="./a&amp;b"',
        'href="./-/healthy"',
        'href="./-/ready"',
    ):
        assert text in response.text
    assert "http" not in response.text


def test_landing_page_without_sources() -> None:
    """Before a source is found the page says so instead of showing an empty table."""
    with serving() as server, client_of(server) as client:
        page = client.get("/").text
    assert "No source is watched yet." in page
    assert "Ready." in page


def test_telemetry_path_may_be_the_root() -> None:
    """Metrics at `/` leave no room for a landing page."""
    with serving(telemetry_path="/") as server, client_of(server) as client:
        assert client.get("/").content == PAGE
        assert client.get("/metrics").status_code == 404


@pytest.mark.parametrize("path", ["metrics", "", "/{x}", "/a b", "//x", "/-/ready", "/a?b", "/é"])
def test_telemetry_path_that_cannot_be_served_is_refused(path: str) -> None:
    """A path that no request could reach, or that is taken, is an error at start."""
    with pytest.raises(ConfigError, match="telemetry path"):
        create_app(FakeBackend(), path, WebConfigHolder(None), Hosts())


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
def test_head_is_get_without_a_body(path: str) -> None:
    """HEAD answers with the length that GET would have."""
    with serving() as server, client_of(server) as client:
        got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "FOO"])
def test_other_methods_are_not_allowed(method: str) -> None:
    """Only GET and HEAD exist, and the answer says so."""
    with serving() as server, client_of(server) as client:
        for path in ("/", "/metrics", "/-/healthy", "/-/ready"):
            response = client.request(method, path)
            assert response.status_code == 405
            assert sorted(response.headers["allow"].split(", ")) == ["GET", "HEAD"]


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/metrics/",
        "//metrics",
        "/metrics/../x",
        "/x/../metrics",
        "/%2e%2e",
        "/%2e%2e/metrics",
        "/metrics%0a",
        "/metrics%00",
        "/metrics%2f",
        "/METRICS",
        "/..%5cmetrics",
        "/metrics;x",
        "/%ff",
        "*",
        "http://x/metrics",
    ],
)
def test_path_tricks_find_nothing(target: str) -> None:
    """A path is compared as it is: nothing is tidied up, redirected or looked up on disk."""
    backend = FakeBackend()
    with serving(backend) as server:
        assert get_raw(server, target) == 404
    assert backend.asked == []


def test_accept_header_and_wait_reach_the_backend() -> None:
    """Negotiation is the backend's; it is also told how long the scrape can wait."""
    backend = FakeBackend()
    with serving(backend) as server, client_of(server) as client:
        openmetrics = "application/openmetrics-text;version=1.0.0;q=0.5"
        timeout = ("X-Prometheus-Scrape-Timeout-Seconds", "0.5")
        client.get("/metrics", headers=[("Accept", openmetrics), ("Accept", "*/*;q=0.1"), timeout])
        del client.headers["accept"]
        client.get("/metrics")
    assert backend.asked == [(f"{openmetrics}, */*;q=0.1", 0.25), ("", 1.0)]


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, 1.0),
        ("10", 1.0),
        ("1.5", 0.75),
        ("0.2", 0.1),
        (" 1. ", 0.5),
        ("", 1.0),
        ("0", 1.0),
        ("-1", 1.0),
        ("nan", 1.0),
        ("inf", 1.0),
        ("-inf", 1.0),
        ("1e-3", 1.0),
        ("1_0", 1.0),
        ("٣", 1.0),
        ("9" * 400, 1.0),
        ("soon", 1.0),
    ],
)
def test_scrape_timeout_header(header: str | None, wait_s: float) -> None:
    """A scrape waits half its timeout and at most a second, whatever the header says."""
    assert scrape_wait_s(header) == pytest.approx(wait_s)


def test_gzip_by_negotiation() -> None:
    """A client that takes gzip gets it, another does not, and caches are told why."""
    body = b"opencode_tool_invocations_total 1\n" * 10_000
    with serving(FakeBackend(body)) as server, client_of(server) as client:
        raw = client.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        with raw as response:
            packed = b"".join(response.iter_raw())
            assert response.headers["content-encoding"] == "gzip"
            assert response.headers["vary"] == "Accept, Accept-Encoding"
            assert response.headers["content-length"] == str(len(packed))
        assert gzip.decompress(packed) == body
        assert len(packed) < len(body) / 10
        for refusing in ("identity", "gzip;q=0", "br, gzip; q=0.0"):
            plain = client.get("/metrics", headers={"Accept-Encoding": refusing})
            assert "content-encoding" not in plain.headers
            assert plain.headers["vary"] == "Accept, Accept-Encoding"
            assert plain.content == body


def test_gzip_weight() -> None:
    """Any weight above zero accepts gzip; a name that only contains it does not."""
    assert accepts_gzip("deflate, GZIP;q=0.001")
    assert not accepts_gzip("x-gzip-like, br")
    assert not accepts_gzip("")


def test_backend_failure_is_one_answer_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A scrape that fails gets a short 500, one line with its cause, and the next one works."""
    backend = FakeBackend()
    with serving(backend) as server, client_of(server) as client:
        backend.error = RuntimeError("disk on fire")
        response = client.get("/metrics")
        assert (response.status_code, response.text) == (500, "Internal Server Error\n")
        assert client.get("/").status_code == 500
        backend.error = None
        assert client.get("/metrics").status_code == 200
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [vars(record)["err"] for record in errors] == ["disk on fire", "disk on fire"]
    assert {record.name for record in errors} == {"opencode_exporter.web.middleware"}


def test_prometheus_servers_are_told_apart() -> None:
    """A server is who says how long it waits: by address and user agent; others are nobody."""
    backend = FakeBackend()
    scrape = {"X-Prometheus-Scrape-Timeout-Seconds": "10"}
    agents = ["Prometheus/3.5.0", "Prometheus/3.6.0", "Prometheus/3.5.0"]
    with serving(backend) as server, client_of(server) as client:
        client.get("/metrics", headers={"User-Agent": agents[0]})
        for agent in agents:
            client.get("/metrics", headers={**scrape, "User-Agent": agent})
    nobody, first, other, again = backend.viewers
    assert nobody == ""
    assert first == again != other
    assert "Prometheus" not in first
    assert "127.0.0.1" not in first


def test_a_page_is_sent_when_its_client_was_there() -> None:
    """A page that nobody waits for any more is not taken for one that was seen."""
    backend = FakeBackend()
    with serving(backend) as server, client_of(server) as client:
        assert client.get("/metrics").status_code == 200
        wait_for(lambda: backend.sent == 1)
        assert client.head("/metrics").status_code == 200
        backend.delay_s = 0.3
        with socket.create_connection(endpoint(server)) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_for(lambda: len(backend.asked) == 3)
        backend.delay_s = 0
        assert client.get("/metrics").status_code == 200
        wait_for(lambda: backend.answered == 4)
        wait_for(lambda: backend.sent >= 2)
    assert backend.sent == 2
