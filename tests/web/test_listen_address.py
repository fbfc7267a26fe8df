"""Listen addresses: their grammar, and the sockets that come of them."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import httpx
import pytest
from click import Context

from harness.web_server import (
    client_of,
    endpoint,
    serving,
)
from opencode_exporter.commands.cli import cli
from opencode_exporter.errors import ConfigError
from opencode_exporter.web.addresses import parse_listen_address


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (":10777", ("", 10777)),
        ("127.0.0.1:10777", ("127.0.0.1", 10777)),
        ("[::1]:0", ("::1", 0)),
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_listen_address_grammar(text: str, parsed: tuple[str, int]) -> None:
    """The grammar is that of the Go exporters."""
    assert parse_listen_address(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10777",
        "localhost",
        "localhost:",
        ":65536",
        ":-1",
        ":+1",
        ":1 ",
        ":٣",
        ":http",
        "::1:10777",
        "[::1]",
        "[::1:80",
        "[localhost]:80",
        "http://localhost:80",
        "a b:80",
        "a\tb:80",
        ":10\n777",
        "ada@localhost:80",
        "localhost:80/metrics",
        "localhost:80?x",
        "localhost:80#x",
        "[::1]x:80",
    ],
)
def test_malformed_listen_address_is_refused_with_a_hint(text: str) -> None:
    """Each mistake is told with the address in it and with what would be right."""
    with pytest.raises(ConfigError) as caught:
        parse_listen_address(text)
    assert repr(text) in caught.value.message
    assert "10777" in caught.value.hint


def test_several_addresses_and_real_ports() -> None:
    """Each address has its own socket, and port 0 is reported as what it became."""
    with serving(addresses=["127.0.0.1:0", "localhost:0"]) as server:
        assert len(set(server.urls)) == 2
        for index in range(2):
            with client_of(server, index=index) as client:
                assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("address", ["[::1]:0", ":0", "[::]:0"])
def test_ipv6(address: str) -> None:
    """IPv6 works alone, and an empty host means both families."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(addresses=[address]) as server:
        port = server.urls[0].rsplit(":", 1)[1]
        hosts = ["[::1]"] if address == "[::1]:0" else ["[::1]", "127.0.0.1"]
        for host in hosts:
            response = httpx.get(f"http://{host}:{port}/-/healthy", trust_env=False)
            assert response.status_code == 200


def test_port_in_use_is_told_at_start() -> None:
    """A second exporter on the same port fails before it does anything else."""
    with serving() as server:
        host, port = endpoint(server)
        with (
            pytest.raises(ConfigError, match="in use") as caught,
            serving(addresses=["127.0.0.1:0", f"{host}:{port}"]),
        ):
            pass
    assert "--web.listen-address" in caught.value.hint


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_the_default_is_the_loopback_address(command: str) -> None:
    """Nobody else can ask unless somebody says so."""
    (flag,) = (p for p in cli.commands[command].params if p.name == "web_listen_address")
    addresses = flag.get_default(Context(cli)) or ()
    hosts = [parse_listen_address(address)[0] for address in addresses]
    assert hosts
    assert all(ip_address(host).is_loopback for host in hosts)


@pytest.mark.parametrize(
    ("address", "fact"),
    [("192.0.2.1:0", "no address of this machine"), ("no-such-host.invalid:0", "unknown host")],
)
def test_address_of_another_machine_is_refused(address: str, fact: str) -> None:
    """An address that is not ours is told as such."""
    with pytest.raises(ConfigError, match=fact), serving(addresses=[address]):
        pass


def test_no_address_is_refused() -> None:
    """A server without an address would serve nobody."""
    with pytest.raises(ConfigError, match="no listen address"), serving(addresses=[]):
        pass
