"""Certificates for the test server: a good one and the faults that a verifying client must refuse."""

from __future__ import annotations

import functools
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1", "::1")


@functools.cache
def authority() -> trustme.CA:
    """The issuer that clients are told to trust."""
    return trustme.CA()


@functools.cache
def ca_file() -> Path:
    """The issuer's certificate as a PEM file, kept until the process ends."""
    folder = Path(_keep(tempfile.TemporaryDirectory(prefix="outbox-ca-")).name)
    path = folder / "ca.pem"
    authority().cert_pem.write_to_path(path)
    return path


@functools.cache
def server_context(kind: str) -> ssl.SSLContext:
    """A server's context with a certificate: "good", "expired", "wrong host", "unknown issuer"."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _issue(kind).configure_cert(context)
    return context


def _issue(kind: str) -> trustme.LeafCert:
    match kind:
        case "good":
            return authority().issue_cert(*NAMES)
        case "expired":
            return authority().issue_cert(*NAMES, not_after=datetime(2020, 1, 1, tzinfo=UTC))
        case "wrong host":
            return authority().issue_cert("mail.elsewhere.example")
        case "unknown issuer":
            return trustme.CA().issue_cert(*NAMES)
    raise ValueError(f"no such certificate: {kind}")


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _keep(folder: tempfile.TemporaryDirectory[str]) -> tempfile.TemporaryDirectory[str]:
    _kept.append(folder)
    return folder
