"""
TLS as the web configuration file describes it, made into Python's terms.

A setting is honoured exactly or refused with a sentence; none is weakened.
A new configuration takes effect at the next connection, without a restart.
Nothing here reads YAML syntax or knows about HTTP.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opencode_exporter.web.settings_file import Place, Section, Switch

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    # It asks for a certificate and checks nothing: nothing is lost by not asking.
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}

# Go's names for the suites it calls secure, and OpenSSL's.
_CIPHERS = {
    f"TLS_ECDHE_{key}_WITH_{go}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for go, openssl in {
        "AES_128_CBC_SHA": "AES128-SHA",
        "AES_256_CBC_SHA": "AES256-SHA",
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    }.items()
}
# Neither Go nor Python lets TLS 1.3's own suites be chosen.
_TLS13_CIPHERS = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)

_CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}


class TlsSection(Section, frozen=True):
    """The section `tls_server_config`; file names are relative to the file that holds it."""

    cert: str = ""
    cert_file: str = ""
    key: str = ""
    key_file: str = ""
    client_ca: str = ""
    client_ca_file: str = ""
    client_auth_type: str = "NoClientCert"
    client_allowed_sans: tuple[str, ...] = ()
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    curve_preferences: tuple[str, ...] = ()
    prefer_server_cipher_suites: Switch = Switch(True)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The settings of a TLS listener; the context holds certificate and key."""

    context: ssl.SSLContext = field(repr=False, compare=False)
    files: tuple[Path, ...]
    allowed_sans: frozenset[str]
    notes: tuple[tuple[str, str], ...]


def read_tls(section: TlsSection, place: Place) -> TlsSettings:
    """
    Return the settings of a section, with its files loaded.

    Raises:
        ConfigError: A setting or a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _set_versions(context, section, place)
    _set_ciphers(context, section, place)
    _set_curve(context, section, place)
    if not section.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    files = [*_load_certificate(context, section, place), *_load_client_ca(context, section, place)]
    return TlsSettings(
        context, tuple(files), _allowed_sans(context, section, place), _notes(section)
    )


def _set_versions(context: ssl.SSLContext, section: TlsSection, place: Place) -> None:
    for key, name in (("min_version", section.min_version), ("max_version", section.max_version)):
        if name in {"TLS10", "TLS11"}:
            place.fail(key, f"{name} is too old to be offered", hint="use TLS12 or TLS13")
        if name not in _VERSIONS:
            place.fail(key, f"unknown TLS version {name!r}", hint="use TLS12 or TLS13")
        if key == "min_version":
            context.minimum_version = _VERSIONS[name]
        else:
            context.maximum_version = _VERSIONS[name]
    if context.minimum_version > context.maximum_version:
        place.fail("min_version", "is above max_version")


def _set_ciphers(context: ssl.SSLContext, section: TlsSection, place: Place) -> None:
    names = section.cipher_suites
    for name in names:
        if name not in _CIPHERS and name not in _TLS13_CIPHERS:
            place.fail(
                "cipher_suites",
                f"unknown or insecure cipher suite {name!r}",
                hint=f"known: {', '.join([*_CIPHERS, *sorted(_TLS13_CIPHERS)])}",
            )
    chosen = [_CIPHERS[name] for name in names if name in _CIPHERS]
    if chosen:
        context.set_ciphers(":".join(chosen))
    elif names and context.maximum_version < ssl.TLSVersion.TLSv1_3:
        place.fail("cipher_suites", "names none of TLS 1.2, the max_version")
    elif names:
        # Only suites of 1.3 were named, so 1.2 would have none to offer.
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _set_curve(context: ssl.SSLContext, section: TlsSection, place: Place) -> None:
    names = section.curve_preferences
    for name in names:
        if name not in _CURVES:
            place.fail(
                "curve_preferences", f"unknown curve {name!r}", hint=f"known: {', '.join(_CURVES)}"
            )
    if len(names) > 1:
        place.fail(
            "curve_preferences",
            "Python's TLS can be held to one curve, not to an order of several",
            hint="name one curve, or leave the setting out",
        )
    if names:
        context.set_ecdh_curve(_CURVES[names[0]])


def _source(section: TlsSection, place: Place, inline: str) -> tuple[str, Path | None]:
    """Return a PEM text and the file it came from, if it was one."""
    text, name = getattr(section, inline), getattr(section, f"{inline}_file")
    if text and name:
        place.fail(inline, f"is given beside {inline}_file", hint="keep one of the two")
    path = place.file.parent / name if name else None
    try:
        content = path.read_bytes() if path else text.encode()
    except OSError as error:
        place.fail(f"{inline}_file", f"{path} cannot be read: {error.strerror}")
    # PEM is ASCII; the comments around it need not be.
    return content.decode("ascii", "ignore"), path


def _load_certificate(context: ssl.SSLContext, section: TlsSection, place: Place) -> list[Path]:
    texts, files = [], []
    for inline in ("cert", "key"):
        text, path = _source(section, place, inline)
        if not text:
            key = f"{inline}_file" if path else inline
            fact = "is empty" if path else f"neither {inline} nor {inline}_file is given"
            place.fail(key, fact, hint="TLS needs a certificate and its key")
        texts.append(text)
        files += [path] if path else []
    # One reading of both files, loaded as one: a renewal between two readings
    # cannot pair a new certificate with the old key unnoticed.
    with tempfile.TemporaryDirectory(prefix="opencode-exporter-") as private:
        for name, text in zip(("cert.pem", "key.pem"), texts, strict=True):
            (Path(private) / name).write_text(text, "ascii")
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(f"{private}/cert.pem", f"{private}/key.pem", password="")
        except (ssl.SSLError, ValueError) as error:
            _refuse_pair(section, place, texts, error)
    return files


def _refuse_pair(section: TlsSection, place: Place, texts: list[str], error: Exception) -> None:
    cert = "cert_file" if section.cert_file else "cert"
    key = "key_file" if section.key_file else "key"
    if "KEY_VALUES_MISMATCH" in str(error):
        place.fail(key, f"does not belong to the certificate of {cert}")
    if "-----BEGIN CERTIFICATE-----" not in texts[0]:
        place.fail(cert, "holds no PEM certificate")
    if "ENCRYPTED" in texts[1]:
        place.fail(key, "is encrypted", hint="give a key without a password")
    if "PRIVATE KEY-----" not in texts[1]:
        place.fail(key, "holds no PEM private key")
    reason = getattr(error, "reason", None) or "unreadable"
    place.fail(cert, f"cannot be loaded together with {key} ({reason})")


def _load_client_ca(context: ssl.SSLContext, section: TlsSection, place: Place) -> list[Path]:
    policy = section.client_auth_type
    if policy in {"RequireAnyClientCert", "RequireClientCert"}:
        place.fail(
            "client_auth_type",
            f"{policy} accepts certificates of anybody, which Python's TLS cannot do",
            hint="use RequireAndVerifyClientCert with client_ca_file",
        )
    if policy not in _AUTH:
        place.fail(
            "client_auth_type", f"unknown policy {policy!r}", hint=f"known: {', '.join(_AUTH)}"
        )
    text, path = _source(section, place, "client_ca")
    key = "client_ca_file" if path else "client_ca"
    if (text or path) and policy == "NoClientCert":
        place.fail(key, "is given, but no client_auth_type", hint="RequireAndVerifyClientCert")
    if not text and _AUTH[policy] != ssl.CERT_NONE:
        place.fail(key, f"{policy} needs the authority to verify against")
    if text:
        try:
            context.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError):
            place.fail(key, "holds no PEM certificate")
    context.verify_mode = _AUTH[policy]
    return [path] if path else []


def _allowed_sans(context: ssl.SSLContext, section: TlsSection, place: Place) -> frozenset[str]:
    names = section.client_allowed_sans
    if names and context.verify_mode != ssl.CERT_REQUIRED:
        place.fail("client_allowed_sans", "needs client_auth_type to be RequireAndVerifyClientCert")
    return frozenset(canonical_san(name) for name in names)


def _notes(section: TlsSection) -> tuple[tuple[str, str], ...]:
    if section.client_auth_type != "RequestClientCert":
        return ()
    why = "RequestClientCert verifies nothing; no client certificate is asked for"
    return (("tls_server_config.client_auth_type", why),)


def canonical_san(name: str) -> str:
    """Return one spelling for an address, and any other name as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def san_allowed(allowed: frozenset[str], certificate: dict[str, Any] | None) -> bool:
    """Return whether a verified peer certificate carries one of the allowed names."""
    if not allowed:
        return True
    names = (certificate or {}).get("subjectAltName", ())
    return any(canonical_san(str(value).strip()) in allowed for _, value in names)
