"""Under which names the server answers, and to whom it does not."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence

import pytest
import yaml

from harness.exporters import Bench
from harness.places import DEPLOY
from harness.processes.work import serve, working
from harness.web_server import FakeBackend, raw_exchange, serving
from opencode_exporter.errors import ConfigError
from opencode_exporter.web.app import WebServer
from opencode_exporter.web.hosts import Hosts

TARGETS = DEPLOY / "prometheus" / "targets"
OURS = (
    *("localhost", "LocalHost:10777", "localhost.", "ada.localhost:80", "host.docker.internal"),
    *("127.0.0.1", "127.0.0.1:10777", "[::1]", "[::1]:10777", "192.0.2.7:1", "[2001:db8::1]"),
    *("host.containers.internal:10777", socket.gethostname(), "", " localhost "),
)
OTHERS = (
    *("evil.example", "evil.example:10777", "localhost.evil.example", "127.0.0.1.evil.example"),
    *("notlocalhost", "localhostx", "x", "[::1", "::1", "127.0.0.1:1:2", "a@127.0.0.1", "[]"),
    *("evil.example#127.0.0.1", "\xff", "127.0.0.1\xa0"),
)


def ask(server: WebServer, host: str, target: str = "/metrics") -> tuple[int, str]:
    """Ask under a name; return the status and the text of the answer."""
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    head, _, text = raw_exchange(server, request.encode("latin-1")).partition(b"\r\n\r\n")
    return int(head.split()[1]), text.decode()


def test_a_page_of_somebody_else_reads_nothing() -> None:
    """
    A name that is not ours is refused on the loopback, on every path.

    A web page whose name leads to 127.0.0.1 (DNS rebinding) could read all metrics.
    """
    backend = FakeBackend()
    with serving(backend) as server:
        for host in OTHERS:
            assert ask(server, host)[0] == 421, host
        for path in ("/", "/-/healthy", "/-/ready", "/nothing"):
            assert ask(server, "evil.example", path)[0] == 421
        assert backend.asked == []


def test_our_own_names_are_answered() -> None:
    """Addresses, names that stay on this machine and its own name are what scrapers use."""
    with serving() as server:
        for host in OURS:
            assert ask(server, host)[0] == 200, host
        assert b" 200 " in raw_exchange(server, b"GET /metrics HTTP/1.0\r\n\r\n")


def test_refusal_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever means it is told which flag allows the name, in the answer and in the log."""
    with serving() as server:
        _, text = ask(server, "Metrics.example.com:443")
        assert "--web.allowed-host=metrics.example.com\n" in text
        for odd in ("\xff", "a" * 300, "<b>.example", "[::1"):
            assert ask(server, odd)[1].endswith("with --web.allowed-host\n"), odd
    assert vars(caplog.records[0])["host"] == "metrics.example.com"


@pytest.mark.parametrize(
    ("named", "answered", "refused"),
    [
        (["metrics.example.com"], ["metrics.Example.com:8", "localhost"], ["x.example.com", "x"]),
        (["*.example.com"], ["a.example.com", "b.a.example.com"], ["example.com", "aexample.com"]),
        (["*"], ["anything", "evil.example:1"], []),
        (["A.example", "b.example"], ["a.example", "b.example"], ["c.example"]),
        (["192.0.2.7"], ["192.0.2.7"], ["evil.example"]),
    ],
)
def test_names_can_be_allowed(
    named: Sequence[str], answered: Sequence[str], refused: Sequence[str]
) -> None:
    """A name is itself, one with `*.` everything below it, `*` alone anything."""
    with serving(allowed_hosts=named) as server:
        assert {ask(server, host)[0] for host in answered} == {200}
        assert {ask(server, host)[0] for host in refused} <= {421}


@pytest.mark.parametrize("address", [":0", "0.0.0.0:0"])
def test_elsewhere_names_are_not_looked_at_unless_one_is_named(address: str) -> None:
    """Who listens for others is known by names that we cannot know."""
    with serving(addresses=[address]) as server:
        assert ask(server, "exporter.example:10777")[0] == 200
    with serving(addresses=[address], allowed_hosts=["exporter.example"]) as server:
        assert ask(server, "exporter.example:10777")[0] == 200
        assert ask(server, "evil.example")[0] == 421


def test_the_loopback_beside_another_address_stays_guarded() -> None:
    """A second address, for containers, opens the first one to nobody."""
    hosts = Hosts()
    with socket.socket() as local, socket.socket() as everywhere:
        local.bind(("127.0.0.1", 0))
        everywhere.bind(("0.0.0.0", 0))  # noqa: S104  # what is tested
        hosts.watch([local, everywhere])
        assert hosts.refuses("evil.example", local.getsockname())
        assert not hosts.refuses("evil.example", ("127.0.0.1", everywhere.getsockname()[1]))


@pytest.mark.parametrize(
    "name", ["", "http://x", "x:10777", "a b", "x/", "*x", "a.*", "*.", ".x", "bücher.example"]
)
def test_name_that_can_be_none_is_refused_with_a_sentence(name: str) -> None:
    """What would never match is told at the start, with what is right."""
    with pytest.raises(ConfigError, match="is not a name") as caught:
        Hosts([name])
    assert "*.example.com" in caught.value.hint


@pytest.mark.slow
def test_flag_reaches_the_server(bench: Bench) -> None:
    """`--web.allowed-host` is repeatable, and a wrong one ends the start with a sentence."""
    names = ("--web.allowed-host=one.example", "--web.allowed-host=*.two.example")
    with working(bench), serve(bench, *names) as served:
        for host in ("one.example", "a.two.example", "localhost"):
            assert served.get("/-/healthy", host=host).status_code == 200
        assert served.get("/-/healthy", host="three.example").status_code == 421
    words = (sys.executable, "-m", "opencode_exporter", "serve", "--web.allowed-host=x:1")
    more = (f"--ledger.path={bench.ledger}", f"--source.path={bench.source}")
    done = subprocess.run([*words, *more], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("opencode-exporter: allowed host 'x:1' is not")


@pytest.mark.parametrize("way", ["host", "native"])
def test_committed_targets_are_names_that_are_answered(way: str) -> None:
    """Prometheus asks an exporter on the loopback by the name that `deploy/` gives it."""
    listed = yaml.safe_load((TARGETS / way / "exporters.yml").read_text("utf-8"))
    targets = [target for group in listed for target in group["targets"]]
    assert targets
    with serving() as server:
        assert {ask(server, target)[0] for target in targets} == {200}
