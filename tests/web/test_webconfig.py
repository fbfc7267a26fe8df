"""The web configuration file: its grammar, its errors, and reading it again."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from opencode_exporter.errors import ConfigError
from opencode_exporter.web.tls import san_allowed
from opencode_exporter.web.web_config import RateLimit, WebConfig, WebConfigHolder

HASH = "$2y$04$" + "e" * 53


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Make one authority for all tests: keys take time."""
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    """Lay out certificate, key, the key of another certificate, and authority."""
    server, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    server.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    other.private_key_pem.write_to_path(tmp_path / "other.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "empty").write_text("")
    (tmp_path / "text").write_text("hello, ünïcode")
    (tmp_path / "encrypted.key").write_text(ENCRYPTED_KEY)
    return tmp_path


ENCRYPTED_KEY = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjVY0B6
-----END ENCRYPTED PRIVATE KEY-----
"""

PAIR = "tls_server_config: {cert_file: server.crt, key_file: server.key%s}"


def load(folder: Path, text: str) -> WebConfig:
    """Write a configuration and load it."""
    path = folder / "web.yml"
    path.write_text(text)
    return WebConfig.load(path)


def test_empty_file_configures_nothing(tmp_path: Path) -> None:
    """The toolkit accepts an empty file, so do we: plain HTTP, no passwords."""
    path = tmp_path / "web.yml"
    assert load(tmp_path, "") == WebConfig(files=(path,))
    assert load(tmp_path, "tls_server_config:\nbasic_auth_users:\n") == WebConfig(files=(path,))


def test_everything_at_once(folder: Path) -> None:
    """A full file is honoured setting by setting; file names are relative to it."""
    config = load(
        folder,
        f"""
tls_server_config:
  cert_file: server.crt
  key_file: {folder}/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus, 0:0::1]
  min_version: TLS12
  max_version: TLS12
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: no
  curve_preferences: [CurveP384]
http_server_config:
  http2: true
  headers:
    X-Frame-Options: deny
    X-XSS-Protection:
basic_auth_users:
  on: {HASH}
  123: {HASH}
rate_limit:
  interval: 1m0.5s
  burst: 20
""",
    )
    assert config.tls is not None
    context = config.tls.context
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.maximum_version == ssl.TLSVersion.TLSv1_2
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    names = {cipher["name"] for cipher in context.get_ciphers()}
    assert {name for name in names if not name.startswith("TLS_")} == {
        "ECDHE-ECDSA-AES128-GCM-SHA256"
    }
    assert config.tls.allowed_sans == {"prometheus", "::1"}
    assert config.headers == {"X-Frame-Options": "deny", "X-XSS-Protection": ""}
    assert set(config.users) == {"on", "123"}
    assert config.rate_limit == RateLimit(60.5, 20)
    assert [setting for setting, _ in config.notes] == ["http_server_config.http2"]
    assert [file.name for file in config.files] == ["web.yml", "server.crt", "server.key", "ca.crt"]
    assert HASH not in repr(config)


def test_inline_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    """Certificate, key and authority may stand in the file itself."""
    leaf = authority.issue_cert("localhost")
    parts = {
        "cert": leaf.cert_chain_pems[0].bytes(),
        "key": leaf.private_key_pem.bytes(),
        "client_ca": authority.cert_pem.bytes(),
    }
    lines = ["tls_server_config:", "  client_auth_type: VerifyClientCertIfGiven"]
    for key, pem in parts.items():
        lines += [f"  {key}: |", *("    " + line for line in pem.decode().splitlines())]
    config = load(tmp_path, "\n".join(lines))
    assert config.tls is not None
    assert config.tls.context.verify_mode == ssl.CERT_OPTIONAL
    assert config.files == (tmp_path / "web.yml",)


def test_request_client_cert_is_accepted_with_a_note(folder: Path) -> None:
    """A policy that verifies nothing works as none, and the operator is told."""
    config = load(folder, PAIR % ", client_auth_type: RequestClientCert")
    assert config.tls is not None
    assert config.tls.context.verify_mode == ssl.CERT_NONE
    assert [setting for setting, _ in config.notes] == ["tls_server_config.client_auth_type"]


def test_only_suites_of_tls_13_leave_out_tls_12(folder: Path) -> None:
    """Naming no suite of TLS 1.2 must not bring the default ones back."""
    config = load(folder, PAIR % ", cipher_suites: [TLS_AES_256_GCM_SHA384]")
    assert config.tls is not None
    assert config.tls.context.minimum_version == ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a", "must be a mapping"),
        ("a: b: c", "not valid YAML: mapping values are not allowed here in line 1"),
        ("a: \x01", "not valid YAML: it cannot be decoded"),
        ('a: "\\UFFFFFFFF"', "not valid YAML: it cannot be decoded"),
        ('a: "\\U00110000"', "not valid YAML: it cannot be decoded"),
        ("? [a]\n: b", "a key must be plain text"),
        ("rate_limit:\nrate_limit:\n", "the key 'rate_limit' is given twice in line 2"),
        ("tls_config: {}", "tls_config: unknown setting"),
        ("tls_server_config: yes", "tls_server_config: must be a mapping"),
        ("tls_server_config: {certs: x}", "tls_server_config.certs: unknown setting"),
        ("tls_server_config: {min_version: TLS12}", "neither cert nor cert_file"),
        ("tls_server_config: {cert_file: server.crt}", "neither key nor key_file"),
        ("tls_server_config: {cert_file: [a]}", "tls_server_config.cert_file: must be a text"),
        ("http_server_config: {h3: on}", "http_server_config.h3: unknown setting"),
        ("http_server_config: {http2: 2}", "http_server_config.http2: must be true or false"),
        ("http_server_config: {headers: {Server: x}}", "headers.Server: unknown setting"),
        ("http_server_config: {headers: {X-Frame-Options: no}}", "must be deny or sameorigin"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\nb"}}', "one line of ASCII"),
        ("basic_auth_users: {bob: secret}", "basic_auth_users.bob: the password is not a bcrypt"),
        ("basic_auth_users: {bob: }", "basic_auth_users.bob: the password is not a bcrypt"),
        # bcrypt takes no such salt: every request would have failed.
        (f"basic_auth_users: {{bob: $2b$10${'.' * 21}9{'.' * 31}}}", "is not a bcrypt hash"),
        (f"basic_auth_users: {{'a:b': {HASH}}}", "a user name cannot hold a colon"),
        ("rate_limit: {interval: 1}", "rate_limit.interval: must be a duration"),
        ("rate_limit: {interval: -1s}", "rate_limit.interval: must be a duration"),
        ("rate_limit: {interval: 1s}", "rate_limit.burst: must be at least 1"),
        ("rate_limit: {interval: 1s, burst: x}", "rate_limit.burst: must be a whole number"),
        ("rate_limit: {rate: 1}", "rate_limit.rate: unknown setting"),
        ("rate_limit: {interval: [1s]}", "rate_limit.interval: must be a text"),
        ("tls_config:", "tls_config: unknown setting"),
        ("tls_server_config: {certs: }", "tls_server_config.certs: unknown setting"),
        ("tls_server_config: {cert_file: , key_file: }", "neither cert nor cert_file"),
        ("tls_server_config: {cert: x, cipher_suites: [a, [b]]}", "suites[1]: must be a text"),
        ("http_server_config: {headers: {X-Frame-Options: [deny]}}", "one line of ASCII"),
        ("basic_auth_users: {bob: [secret]}", "basic_auth_users.bob: the password is not a bcrypt"),
        ("basic_auth_users: secret", "basic_auth_users: must be a mapping"),
        ("basic_auth_users: [secret]", "basic_auth_users: must be a mapping"),
    ],
)
def test_broken_file_is_told_by_key(folder: Path, text: str, sentence: str) -> None:
    """Each mistake is one sentence with the file and the key, and without any secret."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert caught.value.message.startswith(f"{folder / 'web.yml'}: ")
    assert sentence in caught.value.message
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("min_version: TLS11", "min_version: TLS11 is too old"),
        ("max_version: SSL3", "max_version: unknown TLS version 'SSL3'"),
        ("min_version: TLS13, max_version: TLS12", "min_version: is above max_version"),
        ("cipher_suites: TLS_AES_128_GCM_SHA256", "cipher_suites: must be a list"),
        ("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "unknown or insecure cipher suite"),
        ("max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]", "names none of TLS 1.2"),
        ("curve_preferences: [P256]", "unknown curve 'P256'"),
        ("curve_preferences: [X25519, CurveP256]", "held to one curve"),
        ("cert: x", "cert: is given beside cert_file"),
        ("client_ca: x, client_ca_file: ca.crt", "client_ca: is given beside client_ca_file"),
        ("client_ca_file: ca.crt", "client_ca_file: is given, but no client_auth_type"),
        ("client_auth_type: Maybe", "client_auth_type: unknown policy 'Maybe'"),
        ("client_auth_type: RequireAnyClientCert", "which Python's TLS cannot do"),
        ("client_auth_type: RequireAndVerifyClientCert", "needs the authority"),
        ("client_allowed_sans: [a]", "client_allowed_sans: needs client_auth_type"),
        (
            "client_auth_type: VerifyClientCertIfGiven, client_ca_file: text",
            "client_ca_file: holds no PEM certificate",
        ),
        (
            "client_auth_type: VerifyClientCertIfGiven, client_ca_file: none",
            "none cannot be read: No such file or directory",
        ),
    ],
)
def test_tls_setting_that_cannot_be_honoured_is_refused(
    folder: Path, settings: str, sentence: str
) -> None:
    """No TLS setting is weakened or passed over in silence."""
    with pytest.raises(ConfigError) as caught:
        load(folder, PAIR % f", {settings}")
    assert caught.value.message.startswith(f"{folder / 'web.yml'}: tls_server_config.")
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    ("cert", "key", "sentence"),
    [
        ("missing", "server.key", "cert_file: "),
        ("server.crt", "missing", "key_file: "),
        ("empty", "server.key", "cert_file: is empty"),
        ("text", "server.key", "cert_file: holds no PEM certificate"),
        ("server.key", "server.key", "cert_file: holds no PEM certificate"),
        ("server.crt", "text", "key_file: holds no PEM private key"),
        ("server.crt", "ca.crt", "key_file: holds no PEM private key"),
        ("server.crt", "encrypted.key", "key_file: is encrypted"),
        ("server.crt", "other.key", "key_file: does not belong to the certificate of cert_file"),
        (".", "server.key", "cert_file: "),
    ],
)
def test_unusable_certificate_is_told_by_file(
    folder: Path, cert: str, key: str, sentence: str
) -> None:
    """Which of the two files is wrong, and how, is said before anything is served."""
    with pytest.raises(ConfigError, match=r"web\.yml: tls_server_config\.") as caught:
        load(folder, f"tls_server_config: {{cert_file: {cert}, key_file: {key}}}")
    assert sentence in caught.value.message


def test_unknown_setting_is_told_with_those_there_are(tmp_path: Path) -> None:
    """Whoever misspells a setting needs the names of its own section, not of another."""
    for text, known in {
        "rate: {}": "basic_auth_users, http_server_config, rate_limit, tls_server_config",
        "rate_limit: {rate: 1}": "burst, interval",
        "tls_server_config: {certs: x}": "cert, cert_file, cipher_suites, client_allowed_sans",
        "http_server_config: {headers: {Server: x}}": "Content-Security-Policy, Strict-Transport",
    }.items():
        with pytest.raises(ConfigError, match="unknown setting") as caught:
            load(tmp_path, text)
        assert caught.value.hint.startswith(f"known here: {known}")


def test_missing_file_is_told(tmp_path: Path) -> None:
    """A configuration that was asked for and is not there is an error, not a default."""
    with pytest.raises(ConfigError, match="cannot be read: No such file") as caught:
        WebConfigHolder(tmp_path / "none.yml")
    assert "--web.config.file" in caught.value.hint


def test_allowed_names_of_a_client() -> None:
    """Any one name is enough, addresses in any spelling; no certificate, no name."""
    certificate = {"subjectAltName": (("DNS", "a"), ("IP Address", "2001:DB8:0:0:0:0:0:1"))}
    assert san_allowed(frozenset(), None)
    assert san_allowed(frozenset({"2001:db8::1"}), certificate)
    assert san_allowed(frozenset({"a", "b"}), certificate)
    assert not san_allowed(frozenset({"A"}), certificate)
    assert not san_allowed(frozenset({"a"}), None)


def test_change_is_noticed_and_a_broken_one_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A changed file takes effect within a second; a broken one leaves the old in effect."""
    now = 0.0
    path = tmp_path / "web.yml"
    path.write_text("")
    holder = WebConfigHolder(path, clock=lambda: now)
    path.write_text(f"basic_auth_users: {{alice: {HASH}}}")
    assert not holder.current().users
    now = 1.0
    assert set(holder.current().users) == {"alice"}
    path.write_text("basic_auth_users: {alice: secret}")
    for now in (2.0, 3.0, 4.0):  # noqa: B007 - the clock reads it
        assert set(holder.current().users) == {"alice"}
    path.unlink()
    now = 5.0
    assert set(holder.current().users) == {"alice"}
    path.write_text("")
    now = 6.0
    assert not holder.current().users
    errors = [vars(record)["err"] for record in caplog.records if record.levelname == "ERROR"]
    assert ["not a bcrypt" in errors[0], "No such file" in errors[1]] == [True, True]
    assert len(errors) == 2


def test_reload_raises_and_keeps_the_old_one(folder: Path) -> None:
    """A signal's reload reports a broken file, and TLS cannot come or go."""
    path = folder / "web.yml"
    path.write_text(f"basic_auth_users: {{alice: {HASH}}}")
    holder = WebConfigHolder(path)
    path.write_text("nonsense: 1")
    with pytest.raises(ConfigError, match="nonsense: unknown setting"):
        holder.reload()
    path.write_text(PAIR % "")
    with pytest.raises(ConfigError, match="cannot come or go"):
        holder.reload()
    assert set(holder.current().users) == {"alice"}
    WebConfigHolder(None).reload()
