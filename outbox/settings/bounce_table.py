"""The settings of the mailbox that reports come to."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from outbox.settings.relay import Relay, Security
from outbox.settings.relay_table import RelayTable
from outbox.settings.spec import setting
from outbox.settings.values import SECONDS, SECRET, Form, choice, text

_PORTS = {"imaps": 993, "imap+starttls": 143, "imap": 143}
_SECURITY = {"imaps": Security.TLS, "imap+starttls": Security.STARTTLS, "imap": Security.NONE}
_EXAMPLE = "such as imaps://user:password@mail.example.org/INBOX"


def _parse_imap_url(raw: object) -> str:
    url = str(SECRET.parse(raw))
    try:
        parts = urlsplit(url)
        good = parts.scheme in _PORTS and bool(parts.hostname and parts.username) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"is not the URL of a mailbox, {_EXAMPLE}")
    if not unquote(parts.path).isascii() or not unquote(parts.path).isprintable():
        raise ValueError("names a folder that has other than ASCII characters in it")
    return url


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)  # made by its last heir
class BounceTable(RelayTable):
    """Where `outbox-bounces` reads. Times in seconds."""

    bounce_imap_url: str | None = setting(
        "OUTBOX_BOUNCE_IMAP_URL",
        Form("a URL, secret", _parse_imap_url, secret=True),
        None,
        f"The mailbox that `outbox-bounces` and workers read reports from, {_EXAMPLE}; `imap+starttls://`, `imap://` "
        "on this machine. The log-in is by the password in it, or by access token.",
    )
    bounce_imap_auth: str = setting(
        "OUTBOX_BOUNCE_IMAP_AUTH",
        choice("password", "xoauth2"),
        "password",
        "`xoauth2`: by access tokens from where the first transport with some has its own (`OUTBOX_TOKEN_URL` …).",
    )
    bounce_imap_folder: str | None = setting(
        "OUTBOX_BOUNCE_IMAP_FOLDER",
        text(200),
        None,
        "The folder that reports are moved to when they are recorded.",
        says="unset: they stay, and are marked as seen",
    )
    bounce_imap_seconds: float = setting(
        "OUTBOX_BOUNCE_IMAP_SECONDS", SECONDS, 120.0, "How often workers look into that mailbox."
    )

    @property
    def bounce_mailbox(self) -> tuple[Relay, str] | None:
        """The server and how to log in, and the folder; None: there is none."""
        if self.bounce_imap_url is None:
            return None
        parts = urlsplit(self.bounce_imap_url)
        relay = Relay(
            host=parts.hostname or "",
            port=parts.port or _PORTS[parts.scheme],
            security=_SECURITY[parts.scheme],
            username=unquote(parts.username or ""),
            password=unquote(parts.password) if parts.password else None,
            auth=self.bounce_imap_auth,
            ca_file=self.tls_ca_file,
            verify=self.tls_verify,
            allow_plaintext=self.allow_plaintext,
            connect_timeout=self.connect_timeout_seconds,
            command_timeout=self.command_timeout_seconds,
        )
        return relay, unquote(parts.path.strip("/")) or "INBOX"
