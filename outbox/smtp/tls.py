"""TLS: what is verified, and in which words a failure is told.

Known limit: what a certificate that was refused holds is read through a private part of the ssl module; where a Python
does not have it, the words are OpenSSL's alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outbox.core.loggers import get_logger
from outbox.settings.relay import Relay, Security

log = get_logger("outbox.transport")

_MOST_NAMES = 8  # of a certificate, in a message
_OLD = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"})
_ASKS_FOR_CERTIFICATE = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE"})

CLIENT_CERTIFICATE = (
    "the relay asks for a client certificate, and got none that it accepts: set OUTBOX_TLS_CERTIFICATE_FILE, or use a "
    "port that takes a log-in by name and password"
)


def verifying(relay: Relay) -> ssl.SSLContext:
    """TLS 1.2 or later, certificate and host name verified against the relay's CA file or the system's store.

    Where the relay has fingerprints, those are looked at instead, after the handshake. Raises OSError (ssl.SSLError
    among them) for a file or a list of ciphers that cannot be used. A file that changed is read again.
    """
    if relay.security is not Security.NONE and not relay.verify:
        _warn_unverified(relay.name)
    files = (relay.ca_file, relay.tls_certificate_file, relay.tls_key_file)
    changed = tuple(file.stat().st_mtime_ns for file in files if file is not None)
    return _context(_Wanted.of(relay), changed)


@functools.lru_cache(maxsize=1)
def unverified() -> ssl.SSLContext:
    """For a look at a certificate that was refused: nothing may be said over such a connection."""
    return _context(_Wanted(verify=False), ())


def too_old(context: ssl.SSLContext) -> str:
    """That the relay speaks no version of TLS that `context` allows."""
    if context.minimum_version is ssl.TLSVersion.TLSv1_3:
        return "the relay speaks no TLS 1.3, and OUTBOX_TLS_MIN_VERSION allows nothing older: update it, or allow 1.2"
    return "the relay speaks TLS 1.1 or older only; TLS 1.2 is the oldest that is allowed: update it, or use another"


def is_too_old(error: Exception) -> bool:
    """Whether the relay speaks no version of TLS that is allowed."""
    return isinstance(error, ssl.SSLError) and error.reason in _OLD


def asks_for_certificate(error: Exception, sock: socket.socket | None) -> bool:
    """Whether the relay insists on a certificate of the client; in TLS 1.3 it says so after the handshake only."""
    if not isinstance(error, ssl.SSLError) or not isinstance(sock, ssl.SSLSocket):
        return False
    if error.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE":  # TLS 1.2: with a cipher agreed on, only this is left
        return sock.cipher() is not None
    return error.reason in _ASKS_FOR_CERTIFICATE


def fingerprint(sock: socket.socket | None) -> str:
    """The SHA-256 of the relay's certificate, in hexadecimal digits."""
    certificate = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
    return hashlib.sha256(certificate or b"").hexdigest()


def described(sock: ssl.SSLSocket, now: datetime) -> str:
    """The names that the relay's certificate is for, and which of its chain is not valid now; "" if they can't be read.

    `now`: an aware time.
    """
    try:
        chain = [certificate.get_info() for certificate in sock._sslobj.get_unverified_chain()]  # type: ignore[attr-defined]
        return "; ".join([f"the certificate is for {_names(chain[0])}", *_not_valid(chain, now)])
    except Exception:  # noqa: BLE001 - the certificate is a stranger's, and the way to it is not documented
        return ""


def _names(certificate: Mapping[str, Any]) -> str:
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in {"DNS", "IP Address"}]
    if not names:
        return f"{_subject(certificate)} (which names no host)"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _not_valid(chain: list[dict[str, Any]], now: datetime) -> Iterator[str]:
    for position, certificate in enumerate(chain):
        who = "it" if position == 0 else f"that of its issuer {_subject(certificate)}"
        begins, ends = _time(certificate["notBefore"]), _time(certificate["notAfter"])
        if now > ends:
            yield f"{who} expired on {ends:%Y-%m-%d %H:%M} UTC"
        elif now < begins:
            yield f"{who} is valid from {begins:%Y-%m-%d %H:%M} UTC only"


def _subject(certificate: Mapping[str, Any]) -> str:
    """The common name of the certificate's subject, or what takes its place."""
    parts = dict(pair for group in certificate.get("subject", ()) for pair in group)
    return str(parts.get("commonName") or ", ".join(str(value) for value in parts.values()) or "nobody")


def _time(words: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(words), UTC)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a context is made of."""

    ca_file: Path | None = None
    verify: bool = True
    certificate_file: Path | None = None
    key_file: Path | None = None
    min_version: str = "1.2"
    ciphers: str | None = None

    @classmethod
    def of(cls, relay: Relay) -> _Wanted:
        verify = relay.verify and not relay.fingerprints
        own = relay.tls_certificate_file, relay.tls_key_file
        return cls(relay.ca_file, verify, *own, relay.tls_min_version, relay.tls_ciphers)


@functools.lru_cache(maxsize=16)
def _context(wanted: _Wanted, changed: tuple[int, ...]) -> ssl.SSLContext:
    """The same on every Python: 3.13 and later would refuse certificates that lack what RFC 5280 wants of authorities
    (key usage, key identifiers), as those of many houses do; and would trust each certificate of the CA file by itself,
    which is what naming it there means. Chain, dates and host name are verified as before.
    """
    context = ssl.create_default_context(cafile=wanted.ca_file)
    context.verify_flags = (context.verify_flags & ~ssl.VERIFY_X509_STRICT) | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if wanted.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    if wanted.ciphers is not None:
        context.set_ciphers(wanted.ciphers)
    if wanted.certificate_file is not None:
        context.load_cert_chain(wanted.certificate_file, wanted.key_file, password=_no_password)
    if not wanted.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    """OpenSSL would ask for one at the terminal."""
    return ""


@functools.lru_cache(maxsize=64)
def _warn_unverified(name: str) -> None:
    log.warning(
        "%s: the certificate is not verified (OUTBOX_TLS_VERIFY=false): anyone on the network path can read the mail",
        name,
    )


def unusable(relay: Relay, error: Exception) -> str:
    """Which of the relay's settings TLS can't be set up with."""
    if "cipher" in str(error).lower():
        return f"no cipher of OUTBOX_TLS_CIPHERS ({relay.tls_ciphers}) is known here"
    if relay.tls_certificate_file is None:
        return f"the CA file {relay.ca_file} cannot be used: {error}"
    files = ", ".join(str(file) for file in (relay.ca_file, relay.tls_certificate_file, relay.tls_key_file) if file)
    return f"a file for TLS cannot be used ({files}): {error}"


def shut(sock: socket.socket) -> None:
    """Wakes whoever waits on `sock`. Not SSLSocket's own shutdown: that one turns the socket back into a plain one."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def handshake_text(error: Exception) -> str:
    """Why it failed, and what that may mean."""
    if isinstance(error, ssl.SSLError) and error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return f"{error.reason}; what it sent is not TLS (is this port meant for STARTTLS or plain text?)"
    if isinstance(error, TimeoutError):
        return "silence"
    return str(error) or type(error).__name__
