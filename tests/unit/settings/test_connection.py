"""The settings of the connection to the relay, and what of them is a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from outbox.core.errors import ConfigurationError
from outbox.settings import Settings
from outbox.settings.relay import Relay

PIN = "ab" * 32
LINES = ":".join(["AB"] * 32)


def test_the_relay_gets_them(tmp_path: Path) -> None:
    """None is lost on the way; words and lists mean the same."""
    file = tmp_path / "client.pem"
    file.touch()
    relay = Settings.from_config(
        {
            "MAIL_USE_TLS": True,
            "OUTBOX_TLS_NAME": "mail.example.org",
            "OUTBOX_TLS_FINGERPRINTS": f"sha256:{LINES}, {'0' * 64}",
            "OUTBOX_TLS_CERTIFICATE_FILE": str(file),
            "OUTBOX_TLS_KEY_FILE": file,
            "OUTBOX_TLS_MIN_VERSION": "1.3",
            "OUTBOX_TLS_CIPHERS": "ECDHE+AESGCM",
            "OUTBOX_PROTOCOL": "LMTP",
            "OUTBOX_SOURCE_ADDRESS": "2001:DB8::1",
            "OUTBOX_EHLO_IGNORE": ["Size", "SMTPUTF8"],
        }
    ).relay
    assert relay.tls_name == "mail.example.org"
    assert relay.fingerprints == (PIN, "0" * 64)
    assert (relay.tls_certificate_file, relay.tls_key_file) == (file, file)
    assert (relay.tls_min_version, relay.tls_ciphers) == ("1.3", "ECDHE+AESGCM")
    assert (relay.protocol, relay.source_address) == ("lmtp", "2001:db8::1")
    assert relay.ehlo_ignored == ("size", "smtputf8")


def test_a_socket_in_place_of_a_host() -> None:
    """Its path is the relay's name."""
    relay = Settings.from_config({"OUTBOX_SOCKET": "/run/dovecot/lmtp", "OUTBOX_PROTOCOL": "lmtp"}).relay
    assert (relay.name, relay.socket, relay.is_local) == ("/run/dovecot/lmtp", Path("/run/dovecot/lmtp"), True)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"OUTBOX_TLS_FINGERPRINTS": "ab:cd"}, "not a SHA-256 fingerprint"),
        ({"OUTBOX_TLS_FINGERPRINTS": PIN}, "there is no TLS"),
        ({"OUTBOX_TLS_FINGERPRINTS": PIN, "MAIL_USE_TLS": 1, "OUTBOX_TLS_VERIFY": 0}, "verifies nothing"),
        ({"OUTBOX_TLS_KEY_FILE": "/dev/null", "MAIL_USE_TLS": 1}, "without OUTBOX_TLS_CERTIFICATE_FILE"),
        ({"OUTBOX_TLS_CERTIFICATE_FILE": "/no/such", "MAIL_USE_TLS": 1}, "(/no/such) names a file that does not exist"),
        ({"OUTBOX_TLS_MIN_VERSION": "1.1"}, "not 1.2 or 1.3"),
        ({"OUTBOX_TLS_NAME": "https://x"}, "a URL"),
        ({"OUTBOX_SOURCE_ADDRESS": "eth0"}, "not an IP address"),
        ({"OUTBOX_EHLO_IGNORE": "SIZE starttls"}, "has STARTTLS"),
        ({"OUTBOX_EHLO_IGNORE": "SIZE=5"}, "not a keyword"),
        ({"OUTBOX_PROTOCOL": "http"}, "not smtp or lmtp"),
        ({"OUTBOX_SOCKET": "/run/x", "MAIL_SERVER": "localhost"}, "Leave one of them out"),
    ],
)
def test_faults(config: dict[str, Any], words: str) -> None:
    """Each is told at start."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_config(config)
    assert words in str(raised.value)


def test_a_unix_socket_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told with the other faults, and not by an AttributeError in the worker."""
    relay = Relay("/run/dovecot/lmtp", socket=Path("/run/dovecot/lmtp"))
    assert relay.refusal is None
    monkeypatch.setattr("sys.platform", "win32")
    assert "a Unix socket, which this system lacks" in str(relay.refusal)
