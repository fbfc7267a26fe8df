"""TLS of the web configuration on a running server: certificates, versions, names of clients."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import httpx
import pytest
import trustme

from harness.web_server import FakeBackend, client_of, serving
from opencode_exporter.errors import ConfigError


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Make one authority for all tests: keys take time."""
    return trustme.CA()


def write_certificate(folder: Path, leaf: trustme.LeafCert) -> None:
    """Put a certificate and its key where the configuration names them."""
    leaf.cert_chain_pems[0].write_to_path(folder / "server.crt")
    leaf.private_key_pem.write_to_path(folder / "server.key")


def write_tls(folder: Path, leaf: trustme.LeafCert, more: str = "") -> Path:
    """Write a configuration with TLS, and its certificate."""
    write_certificate(folder, leaf)
    path = folder / "web.yml"
    path.write_text(
        f"tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}\n"
    )
    return path


def trusting(authority: trustme.CA, leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """Build a client's context that trusts the authority and may show a certificate."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if leaf is not None:
        leaf.configure_cert(context)
    return context


def test_tls_and_a_renewed_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    """A renewed certificate is shown to the next client; a broken one never is."""
    path = write_tls(tmp_path, authority.issue_cert("127.0.0.1"))
    renewed = trustme.CA()
    with serving(web_config=path) as server:
        assert server.urls[0].startswith("https://127.0.0.1:")
        with client_of(server, verify=trusting(authority)) as client:
            assert client.get("/metrics").status_code == 200
            assert (
                client.get("/metrics", headers={"Accept-Encoding": ""}).http_version == "HTTP/1.1"
            )
        write_certificate(tmp_path, renewed.issue_cert("127.0.0.1"))
        server.reload()
        with client_of(server, verify=trusting(renewed)) as client:
            assert client.get("/metrics").status_code == 200
        old = trusting(authority)
        with client_of(server, verify=old) as client, pytest.raises(httpx.ConnectError):
            client.get("/metrics")
        (tmp_path / "server.key").write_text("broken")
        with pytest.raises(ConfigError, match="key_file"):
            server.reload()
        with client_of(server, verify=trusting(renewed)) as client:
            assert client.get("/metrics").status_code == 200


def test_renewed_certificate_is_noticed_without_a_signal(
    tmp_path: Path, authority: trustme.CA
) -> None:
    """Tools that renew certificates signal nobody: a changed file is enough."""
    path = write_tls(tmp_path, authority.issue_cert("127.0.0.1"))
    renewed = trustme.CA()
    with serving(web_config=path) as server:
        write_certificate(tmp_path, renewed.issue_cert("127.0.0.1"))
        server._holder._checked -= 60  # as if the last look were a minute ago
        with client_of(server, verify=trusting(renewed)) as client:
            assert client.get("/metrics").status_code == 200


def test_plain_http_on_a_tls_port_is_dropped(tmp_path: Path, authority: trustme.CA) -> None:
    """A client that speaks no TLS gets nothing, and others are served."""
    path = write_tls(tmp_path, authority.issue_cert("127.0.0.1"))
    with serving(web_config=path) as server:
        with pytest.raises(httpx.TransportError):
            httpx.get(server.urls[0].replace("https", "http"), trust_env=False)
        with client_of(server, verify=trusting(authority)) as client:
            assert client.get("/metrics").status_code == 200


def test_minimum_version_is_held(tmp_path: Path, authority: trustme.CA) -> None:
    """A client that cannot speak the minimum version gets no connection."""
    path = write_tls(tmp_path, authority.issue_cert("127.0.0.1"), "  min_version: TLS13")
    old = trusting(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        serving(web_config=path) as server,
        client_of(server, verify=old) as client,
        pytest.raises(httpx.ConnectError),
    ):
        client.get("/metrics")


CLIENT_AUTH = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"


def test_client_certificate_is_required(tmp_path: Path, authority: trustme.CA) -> None:
    """Only a client with a certificate of the authority comes in."""
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    path = write_tls(tmp_path, authority.issue_cert("127.0.0.1"), CLIENT_AUTH)
    with serving(web_config=path) as server:
        good = trusting(authority, authority.issue_cert("prometheus"))
        with client_of(server, verify=good) as client:
            assert client.get("/metrics").status_code == 200
        stranger = trustme.CA().issue_cert("prometheus")
        for bad in (trusting(authority), trusting(authority, stranger)):
            with client_of(server, verify=bad) as client, pytest.raises(httpx.TransportError):
                client.get("/metrics")


def test_client_certificate_needs_an_allowed_name(tmp_path: Path, authority: trustme.CA) -> None:
    """A good certificate with another name is dropped; a reload may allow it."""
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    allowed = CLIENT_AUTH + "  client_allowed_sans: [prometheus]"
    path = write_tls(tmp_path, authority.issue_cert("127.0.0.1"), allowed)
    backend = FakeBackend()
    with serving(backend, web_config=path) as server:
        other = trusting(authority, authority.issue_cert("grafana"))
        with client_of(server, verify=other) as client, pytest.raises(httpx.TransportError):
            client.get("/metrics")
        assert backend.asked == []
        good = trusting(authority, authority.issue_cert("prometheus"))
        with client_of(server, verify=good) as client:
            assert client.get("/metrics").status_code == 200
        path.write_text(path.read_text().replace("[prometheus]", "[prometheus, grafana]"))
        os.utime(path, (1, 1))
        server.reload()
        with client_of(server, verify=other) as client:
            assert client.get("/metrics").status_code == 200
