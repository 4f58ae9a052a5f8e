# ruff: noqa: RUF009 - `setting` is dataclasses.field with a Spec in it
"""The settings of the connection to the relay: TLS, addresses, protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from outbox.settings.host_values import host
from outbox.settings.queue_table import QueueTable
from outbox.settings.spec import setting
from outbox.settings.token_values import PATH
from outbox.settings.values import FILE, FLAG, choice, text
from outbox.settings.wire_values import ADDRESS, FINGERPRINTS, KEYWORDS


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)  # made by its last heir
class ConnectionTable(QueueTable):
    """How the relay is reached, beside Flask-Mail's own settings."""

    tls_ca_file: Path | None = setting(
        "OUTBOX_TLS_CA_FILE", FILE, None, "Certificates to trust, PEM.", says="unset: the system's store"
    )
    tls_verify: bool = setting("OUTBOX_TLS_VERIFY", FLAG, True, "False accepts any certificate: for experiments only.")
    tls_name: str | None = setting(
        "OUTBOX_TLS_NAME",
        host(None),
        None,
        "The name that the relay's certificate must have, where that is not its host: behind a tunnel, or by address.",
        says="unset: `MAIL_SERVER`",
    )
    tls_fingerprints: tuple[str, ...] = setting(
        "OUTBOX_TLS_FINGERPRINTS",
        FINGERPRINTS,
        (),
        "SHA-256 fingerprints of certificates. Given, the relay's must be one of them, and its name, dates and issuer "
        "are not looked at. Add the next one before the relay's certificate is renewed.",
    )
    tls_certificate_file: Path | None = setting(
        "OUTBOX_TLS_CERTIFICATE_FILE", PATH, None, "The worker's own certificate, PEM, for a relay that asks for one."
    )
    tls_key_file: Path | None = setting(
        "OUTBOX_TLS_KEY_FILE", PATH, None, "Its private key, PEM, without a password.", says="unset: in the same file"
    )
    tls_min_version: str = setting("OUTBOX_TLS_MIN_VERSION", choice("1.2", "1.3"), "1.2", "The oldest TLS allowed.")
    tls_ciphers: str | None = setting(
        "OUTBOX_TLS_CIPHERS",
        text(1000),
        None,
        "The ciphers allowed for TLS 1.2, as OpenSSL writes them: `ECDHE+AESGCM`. TLS 1.3 has its own.",
        says="unset: Python's",
    )
    allow_plaintext: bool = setting(
        "OUTBOX_ALLOW_PLAINTEXT",
        FLAG,
        False,
        "Allows plain text to another machine, and a password over plain text.",
    )
    protocol: str = setting(
        "OUTBOX_PROTOCOL",
        choice("smtp", "lmtp"),
        "smtp",
        "`lmtp` (RFC 2033) for a mailbox server such as Dovecot's.",
    )
    socket: Path | None = setting(
        "OUTBOX_SOCKET",
        PATH,
        None,
        "A Unix socket on which the relay listens, in place of `MAIL_SERVER` and `MAIL_PORT`.",
    )
    source_address: str | None = setting(
        "OUTBOX_SOURCE_ADDRESS",
        ADDRESS,
        None,
        "The IP address of this machine to connect from. The relay's addresses of the other kind (IPv4, IPv6) are "
        "passed over.",
        says="unset: the system's choice",
    )
    ehlo_ignored: tuple[str, ...] = setting(
        "OUTBOX_EHLO_IGNORE",
        KEYWORDS,
        (),
        "Keywords of the relay's EHLO to leave alone, because what it offers does not work: `SIZE SMTPUTF8`. Not "
        "`STARTTLS` and `AUTH`.",
    )
