"""Hints about what goes wrong before the log-in: looking up, connecting, greeting, TLS. Data, first match wins."""

from __future__ import annotations

from outbox.delivery.hint import NO_REPLY, TLS, TLS_FROM_START, TO_EHLO, Hint, words
from outbox.delivery.reply import Phase

CONNECTING: tuple[Hint, ...] = (
    Hint(
        "The relay asks for a client certificate: set OUTBOX_TLS_CERTIFICATE_FILE to one that it accepts, or use a "
        "port or a relay with a log-in by name and password (usually 587).",
        phases=TLS | TO_EHLO,
        text=words(r"certificate.required", r"client certificate", r"alert.bad.certificate", r"peer did not return"),
    ),
    Hint(
        "The name server did not answer. Check this machine's DNS, or set MAIL_SERVER to an IP address.",
        phases=frozenset({Phase.RESOLVE}),
        text=words(r"was not resolved in", r"temporary failure"),
    ),
    Hint(
        "The name is not in the DNS. Check the spelling of MAIL_SERVER.",
        phases=frozenset({Phase.RESOLVE}),
    ),
    Hint(
        "Nothing listens there. Check that the relay runs, and that MAIL_SERVER and MAIL_PORT are right (usual: 587 "
        "with MAIL_USE_TLS, 465 with MAIL_USE_SSL, 25).",
        phases=frozenset({Phase.CONNECT}),
        text=words(r"refused"),
    ),
    Hint(
        "This machine has no way to that address. Check its network, and MAIL_SERVER.",
        phases=frozenset({Phase.CONNECT}),
        text=words(r"unreachable", r"no route", r"not available", r"not supported"),
    ),
    Hint(
        "A firewall probably drops the connection; many hosting providers block port 25. Try MAIL_PORT=587 with "
        "MAIL_USE_TLS=true, and check MAIL_SERVER.",
        phases=frozenset({Phase.CONNECT}),
    ),
    Hint(TLS_FROM_START, phases=frozenset({Phase.GREETING}), codes=NO_REPLY, port=465, plain=True),
    Hint(
        "What answers there speaks TLS from the first byte: set MAIL_USE_SSL=true, and MAIL_USE_TLS=false.",
        phases=frozenset({Phase.GREETING}),
        codes=NO_REPLY,
        text=words(r"\\x15\\x03"),
        plain=True,
    ),
    Hint(
        "What answers there is not an SMTP server. Check MAIL_SERVER and MAIL_PORT.",
        phases=frozenset({Phase.GREETING}),
        codes=NO_REPLY,
        text=words(r"no SMTP reply", r"not an SMTP reply", r"more than \d+ bytes"),
    ),
    Hint(
        "The relay accepts the connection and says nothing. If the port speaks TLS from the first byte (465), set "
        "MAIL_USE_SSL=true; else the relay is overloaded, or its proxy cannot reach it.",
        phases=frozenset({Phase.GREETING}),
        codes=NO_REPLY,
        plain=True,
    ),
    Hint(
        "The relay accepts the connection and says nothing: it is overloaded, or its proxy cannot reach it.",
        phases=frozenset({Phase.GREETING}),
        codes=NO_REPLY,
    ),
)

STARTING_TLS: tuple[Hint, ...] = (
    Hint(
        "The port does not speak TLS from the first byte. For STARTTLS (port 587) set MAIL_USE_TLS=true and "
        "MAIL_USE_SSL=false.",
        phases=TLS,
        text=words(r"WRONG_VERSION_NUMBER", r"RECORD_LAYER_FAILURE"),
    ),
    Hint(
        "Set MAIL_USE_SSL=true instead of MAIL_USE_TLS if the port is 465; else use the relay's port with STARTTLS, "
        "usually 587.",
        phases=TLS,
        text=words(r"not offer STARTTLS"),
    ),
    Hint(
        "Check the file that OUTBOX_TLS_CA_FILE names: it must hold certificates in PEM form.",
        phases=TLS,
        text=words(r"the CA file"),
    ),
    Hint(
        "Set MAIL_SERVER to a name that the relay's certificate contains.",
        phases=TLS,
        text=words(r"hostname mismatch", r"IP address mismatch", r"doesn't match", r"not valid for"),
    ),
    Hint(
        "Renew the relay's certificate. If it is still valid, this machine's clock is wrong.",
        phases=TLS,
        text=words(r"\bexpired\b"),
    ),
    Hint("Check this machine's clock.", phases=TLS, text=words(r"not yet valid")),
    Hint(
        "Set OUTBOX_TLS_CA_FILE to a PEM file with the certificate of the authority that signed the relay's (for a "
        "self-signed one: with that certificate itself).",
        phases=TLS,
        text=words(r"self[- ]signed", r"local issuer", r"issuer certificate", r"verify the first certificate"),
    ),
    Hint(
        "Compare that fingerprint with the one that the relay's operator gives, and only then add it to "
        "OUTBOX_TLS_FINGERPRINTS.",
        phases=TLS,
        text=words(r"OUTBOX_TLS_FINGERPRINTS"),
    ),
    Hint(
        "Allow TLS 1.2 (OUTBOX_TLS_MIN_VERSION=1.2), or update the relay.",
        phases=TLS,
        text=words(r"no TLS 1\.3"),
    ),
    Hint(
        "Check OUTBOX_TLS_CIPHERS with `openssl ciphers -v`; leave it out unless you must.",
        phases=TLS,
        text=words(r"OUTBOX_TLS_CIPHERS"),
    ),
    Hint(
        "Check the files that OUTBOX_TLS_CERTIFICATE_FILE and OUTBOX_TLS_KEY_FILE name: PEM, a key without a password "
        "that fits the certificate, readable by the worker.",
        phases=TLS,
        text=words(r"a file for TLS cannot be used"),
    ),
    Hint(
        "The relay speaks TLS 1.1 or older only. TLS 1.2 is the oldest version allowed: update the relay, or use "
        "another one.",
        phases=TLS,
        text=words(r"unsupported.protocol", r"protocol.version", r"no.protocols.available", r"TLS 1\.[01]"),
    ),
    Hint("The relay cannot start TLS now. Try again later.", phases=TLS, codes=frozenset({421, 454})),
    Hint(
        "Check that the port is right: 587 for MAIL_USE_TLS, 465 for MAIL_USE_SSL; and that no firewall breaks TLS.",
        phases=TLS,
    ),
)
