"""A certification authority of its own for the local SMTP server, so that the worker verifies it like any other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509

LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)


def ensure(ca_file: Path, certificate: Path, now: datetime | None = None) -> bool:
    """Makes both files unless they are there and good for another RENEW_BEFORE. True if it made them.

    The authority's own key is thrown away: nothing else can be signed with it.
    """
    now = now or datetime.now(UTC)
    if _good_until(ca_file) > now + RENEW_BEFORE and _good_until(certificate) > now + RENEW_BEFORE:
        return False
    authority = trustme.CA(organization_name="Development server, this machine only")
    issued = authority.issue_cert("localhost", "127.0.0.1", not_after=now + LIFETIME)
    certificate.parent.mkdir(parents=True, exist_ok=True)
    certificate.touch(mode=0o600)
    issued.private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(ca_file)
    return True


def _good_until(path: Path) -> datetime:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
