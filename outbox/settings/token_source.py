"""Where the access tokens of one log-in come from (OAuth 2, RFC 6749): a value, read from the configuration once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from outbox.settings.host_values import LOCAL

TokenFunction = Callable[[], Any]
"""Returns an access token, or (token, seconds that it lives), or a mapping with `access_token` and `expires_in`."""

Token = TokenFunction | None
"""None: there is none."""

GOOGLE_SCOPE = "https://mail.google.com/"
MICROSOFT_SCOPE = "https://outlook.office365.com/.default"

_MICROSOFT = ("login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn")


@dataclass(frozen=True, slots=True)
class TokenSource:
    """How access tokens for one log-in are obtained. Equal sources share their tokens within a process."""

    username: str
    url: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    certificate_file: Path | None = None  # key and certificate, PEM, in place of the secret
    refresh_token: str | None = field(default=None, repr=False)
    refresh_token_file: Path | None = None  # where new ones are kept
    scope: str | None = None
    service_account_file: Path | None = None  # Google's JSON key
    command: str | None = field(default=None, repr=False)
    function: TokenFunction | None = field(default=None, repr=False)
    ca_file: Path | None = None  # trusted beside the system's store
    allow_plaintext: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, whoever says it."""
        return tuple(secret for secret in (self.client_secret, self.refresh_token) if secret)

    @property
    def wanted_scope(self) -> str | None:
        """The scope, or what Microsoft's and Google's own mail wants where none is set."""
        if self.scope is not None:
            return self.scope
        if self.service_account_file is not None:
            return GOOGLE_SCOPE
        is_microsoft = self.url is not None and urlsplit(self.url).hostname in _MICROSOFT
        return MICROSOFT_SCOPE if is_microsoft and not self._by_refresh_token else None

    @property
    def _by_refresh_token(self) -> bool:
        return self.refresh_token is not None or self.refresh_token_file is not None

    @property
    def where(self) -> str:
        """Who is asked for a token, as messages show it."""
        if self.url is not None:
            parts = urlsplit(self.url)
            return f"{parts.scheme}://{(parts.netloc).rpartition('@')[2]}{parts.path}"
        if self.service_account_file is not None:
            return f"Google (service account {self.service_account_file})"
        return "OUTBOX_TOKEN_COMMAND" if self.command is not None else "the application's token function"

    def faults(self) -> Iterator[str]:
        """What is wrong with it, in sentences by the names of the settings."""
        ways = {
            "OUTBOX_TOKEN_URL": self.url,
            "OUTBOX_TOKEN_SERVICE_ACCOUNT_FILE": self.service_account_file,
            "OUTBOX_TOKEN_COMMAND": self.command,
            "init_app(token=…)": self.function,
        }
        chosen = [name for name, value in ways.items() if value is not None]
        if len(chosen) > 1:
            yield f"{' and '.join(chosen)} are both set. Tokens come from one place: set one of them."
        if self.url is None:
            yield from self._without_url()
        else:
            yield from self._with_url(self.url)
        yield from _unusable("OUTBOX_TOKEN_CERTIFICATE_FILE", self.certificate_file, "msal", "microsoft")
        yield from _unusable("OUTBOX_TOKEN_SERVICE_ACCOUNT_FILE", self.service_account_file, "google.auth", "google")

    def _without_url(self) -> Iterator[str]:
        needing = {
            "OUTBOX_CLIENT_ID": self.client_id,
            "OUTBOX_CLIENT_SECRET": self.client_secret,
            "OUTBOX_TOKEN_CERTIFICATE_FILE": self.certificate_file,
            "OUTBOX_REFRESH_TOKEN": self.refresh_token,
            "OUTBOX_REFRESH_TOKEN_FILE": self.refresh_token_file,
        }
        useless = [name for name, value in needing.items() if value is not None]
        if useless:
            yield (
                f"{', '.join(useless)} {'is' if len(useless) == 1 else 'are'} set without OUTBOX_TOKEN_URL. Set it to "
                "the provider's token endpoint (docs/oauth.md has those of Microsoft and Google)."
            )

    def _with_url(self, url: str) -> Iterator[str]:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname not in LOCAL and not self.allow_plaintext:
            yield f"OUTBOX_TOKEN_URL ({self.where}) would send the secret over plain text. Use https."
        if self.client_id is None:
            yield "OUTBOX_TOKEN_URL is set without OUTBOX_CLIENT_ID. Set it to the application's (client) id."
        if self.client_secret is None and not self._by_refresh_token and self.certificate_file is None:
            yield (
                "OUTBOX_TOKEN_URL is set without a secret. Set OUTBOX_CLIENT_SECRET or OUTBOX_TOKEN_CERTIFICATE_FILE "
                "(client credentials), or OUTBOX_REFRESH_TOKEN."
            )
        yield from self._without_refresh_token()
        if self.certificate_file is not None and (self.client_secret is not None or self._by_refresh_token):
            yield (
                "OUTBOX_TOKEN_CERTIFICATE_FILE is set beside OUTBOX_CLIENT_SECRET or OUTBOX_REFRESH_TOKEN. The "
                "certificate replaces the secret: set one of them."
            )

    def _without_refresh_token(self) -> Iterator[str]:
        file = self.refresh_token_file
        if file is None:
            return
        if not is_there(file) and self.refresh_token is None:
            yield (
                f"OUTBOX_REFRESH_TOKEN_FILE names {str(file)!r}, which does not exist, and OUTBOX_REFRESH_TOKEN is not "
                "set. Set it to the refresh token to begin with."
            )
        elif not is_there(file) and not _is_folder(file.parent):
            yield f"OUTBOX_REFRESH_TOKEN_FILE names a file in {str(file.parent)!r}, which is not a folder."


def _unusable(setting: str, file: Path | None, module: str, extra: str) -> Iterator[str]:
    if file is None:
        return
    if not is_there(file):
        yield f"{setting} names {str(file)!r}, which does not exist."
    if not _installed(module):
        yield (
            f"{setting} needs the package {module.replace('.', '-')}, which is not installed. "
            f"Run `pip install 'flask-outbox[{extra}]'`."
        )


def is_there(file: Path) -> bool:
    """Whether there is such a file; one that only the worker may read counts as there."""
    try:
        return file.is_file()
    except OSError:
        return True


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:
        return True


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False
