"""What an endpoint answers that takes nothing, and which credentials it gets to see."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator

import pytest

from harness.clock import FakeClock
from harness.exporters import Bench
from harness.otlp.push_lines import pushing
from harness.otlp.pushes import EXPORTS, lines
from harness.otlp.receivers import PROTOCOLS, HttpReceiver, each_protocol
from harness.otlp.span_pushes import QUICK, SPANS, TRACES, add
from harness.otlp.traced_exporter import spans_of
from harness.processes.work import counts, serve, working
from harness.waiting import wait_for
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.otlp.session import session

FAILED = "push failed, the next one has it all"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpReceiver]:
    """A receiver that the environment of this test names, with a token for it alone."""
    with HttpReceiver() as running:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc"}
        running.name_in(monkeypatch, **QUICK, **headers)
        yield running


# Redirects.


@pytest.mark.slow
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
def test_redirect_is_an_error_that_is_told_once(
    status: int, receiver: HttpReceiver, bench: Bench
) -> None:
    """Nothing counts as pushed, the log says where it points, and nobody goes there."""
    with HttpReceiver() as other, working(bench) as work, serve(bench, TRACES) as served:
        receiver.status = status
        receiver.location = f"http://me:s3cret@127.0.0.1:{other.port}/v1/metrics?key=s3cret"
        add(work, served, 2)
        wait_for(lambda: (served.page().value(EXPORTS, result="error") or 0) >= 4)
        wait_for(lambda: served.page().value(SPANS, result="error") == 2)
        assert served.page().value(SPANS, result="ok") == 0
        place = f"it answers {status} and points to http://127.0.0.1:{other.port}/v1/metrics:"
        for text in (FAILED, "spans did not arrive"):
            (line,) = lines(served, text)
            assert line["err"].startswith(place)
        assert "s3cret" not in served.log
        assert not other.asked
        receiver.status = 200
        wait_for(lambda: lines(served, "push arrives again"))
        counts(served, work.add())
        wait_for(lambda: spans_of(receiver.traced))


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/other", "http://localhost:{port}/...:"),
        ("/other/v1/metrics", "http://localhost:{port}/.../v1/metrics:"),
        ("//example.org/s3cret", "http://example.org/...:"),
        ("https://example.org/" + "x" * 9000, "https://example.org/...:"),
        ("https://" + "x" * 9000, "https://xxxx"),
        ("http://[::1", "what is no URL"),
        ("http://a\x1bc\x85", "http://a_c_"),
        ("http://me:s3?cret@a/", "(hidden)"),
    ],
)
def test_place_is_told_as_it_can_be_read(
    location: str,
    told: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where an answer points is told whole, short, and without what a log must not have."""
    with HttpReceiver(status=307, location=location) as receiver:
        with pushing(receiver, clock, monkeypatch) as push:
            push._push()
        (cause,) = (vars(record)["err"] for record in caplog.records if "err" in vars(record))
    assert f"it answers 307 and points to {told.format(port=receiver.port)}" in cause
    assert len(cause) < 400
    assert cause.isprintable()
    assert "s3" not in cause


def test_redirect_is_told_once_until_something_arrives(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not pass by itself: hours of it are one line, another place is one more."""
    with (
        HttpReceiver(status=308, location="/a") as receiver,
        pushing(receiver, clock, monkeypatch) as push,
    ):
        for location, status in (
            (("//a", 308),) * 4 + (("//b", 308),) * 2 + (("//b", 200), ("//b", 308))
        ):
            receiver.location, receiver.status = location, status
            push._push()
            clock.advance(ms=3_600_000)
    told = [record for record in caplog.records if record.getMessage() == FAILED]
    assert [vars(line)["failures"] for line in told] == [1, 5, 1]


# Answers that do not end.


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        (lambda: b"x" * 65536, "it answers 200, and then more than OTLP has"),
        (lambda: threading.Event().wait(0.05) or b"x", "200, and then does not come to an end"),
    ],
    ids=["endless", "drop by drop"],
)
def test_answer_without_end_is_an_error(
    rest: Callable[[], bytes],
    told: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither time nor memory is spent on an answer that no endpoint of OTLP gives."""
    with HttpReceiver(rest=rest) as receiver, pushing(receiver, clock, monkeypatch) as push:
        push._push()
        assert push.exports == {"ok": 0, "error": 1}
        receiver.rest = None
        push._push()
        assert push.exports == {"ok": 1, "error": 1}
    assert told in vars(caplog.records[0])["err"]


# Credentials and proxies.


def basic(name: str, password: str) -> str:
    """Return the header of basic auth."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.slow
@pytest.mark.parametrize("proxied", [False, True])
def test_netrc_is_not_read(
    receiver: HttpReceiver, bench: Bench, monkeypatch: pytest.MonkeyPatch, *, proxied: bool
) -> None:
    """The configured header arrives, also by a proxy, and not a password of another program."""
    home = bench.directory / "home"
    home.mkdir(parents=True)
    (home / ".netrc").write_text("default login ada password s3cret\n")
    (home / ".netrc").chmod(0o600)
    if proxied:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pass@localhost:{receiver.port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.invalid:4318")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
    with working(bench), serve(bench):
        headers = receiver.next().headers
    assert headers["authorization"] == "Bearer abc"
    assert headers.get("proxy-authorization") == (basic("me", "pass") if proxied else None)
    place = "http://collector.invalid:4318/v1/metrics" if proxied else "/v1/metrics"
    assert headers[":path"] == place


@pytest.mark.slow
def test_cookies_are_not_kept(receiver: HttpReceiver, bench: Bench) -> None:
    """Every cookie was kept and sent back: an endpoint could fill the memory with them."""
    receiver.cookie = "a=b; Path=/; Max-Age=9999"
    with working(bench), serve(bench):
        for _ in range(3):
            assert "cookie" not in receiver.next().headers


@pytest.mark.slow
def test_credentials_of_the_url_are_sent(
    receiver: HttpReceiver, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name and a password in the URL are basic auth, with their escapes undone."""
    url = f"http://me:pa%2Fss@localhost:{receiver.port}/v1/metrics"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", url)
    with working(bench), serve(bench):
        assert receiver.next().headers["authorization"] == basic("me", "pa/ss")


def test_credential_provider_that_is_missing_is_told() -> None:
    """A plugin of OpenTelemetry that is named and not there is not passed over."""
    with pytest.raises(ConfigError, match=r"provider 'gcp' is not installed: install its package"):
        session("gcp")


@each_protocol
@pytest.mark.parametrize("value", ["Bearer%20s3cret%0Ax", "s3cret%0Dx", "s3cret%E2%82%AC"])
def test_header_that_cannot_be_sent_is_told_without_its_value(
    value: str,
    protocol: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The libraries' own words hold the value; the log's do not."""
    with PROTOCOLS[protocol]() as receiver:
        headers = f"authorization={value}"
        with pushing(receiver, clock, monkeypatch, OTEL_EXPORTER_OTLP_HEADERS=headers) as push:
            push._push()
            assert push.exports == {"ok": 0, "error": 1}
    (line,) = (vars(record) for record in caplog.records if record.getMessage() == FAILED)
    assert line["err"]
    assert "s3cret" not in caplog.text + line["err"]
