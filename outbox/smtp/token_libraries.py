"""Tokens by the providers' own libraries, which sign what proves who asks: msal for Microsoft, google-auth for Google.

Their requests go by our own way (`token_http`), so that TLS, times and sizes are ours.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from outbox.settings.token_source import TokenSource
from outbox.smtp.token_answer import Grant, TokenError, granted
from outbox.smtp.token_http import Answer, send

_ENDPOINT = re.compile(r"/oauth2/(v2\.0/)?token/?$")
_PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
_PUBLIC = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def by_certificate(source: TokenSource, url: str, file: Path) -> Grant:
    """Client credentials at Microsoft Entra, proved by a certificate."""
    import msal

    pem = _read(file, "OUTBOX_TOKEN_CERTIFICATE_FILE").decode("utf-8", "replace")
    private, public = _PRIVATE.search(pem), _PUBLIC.search(pem)
    if private is None or public is None:
        lacks = "a private key" if private is None else "a certificate"
        raise TokenError(f"OUTBOX_TOKEN_CERTIFICATE_FILE ({file}) holds no {lacks} in PEM form", refused=True)
    client = _Client(source)
    try:
        application = msal.ConfidentialClientApplication(
            source.client_id,
            client_credential={"private_key": private[0], "public_certificate": public[0]},
            authority=_ENDPOINT.sub("", url),
            instance_discovery=False,
            http_client=client,
        )
        application.acquire_token_for_client([source.wanted_scope] if source.wanted_scope else [])
    except TokenError:
        raise
    except Exception:  # noqa: BLE001 - of three libraries, for a key that they can't use
        raise TokenError(
            f"the key and certificate in {file} can't be used (an RSA key without a password is needed), or "
            f"{source.where} is not the token endpoint of a tenant",
            refused=True,
        ) from None
    if client.posted is None:
        raise TokenError(f"{source.where} was not asked for a token", refused=True)
    return granted(client.posted.status, client.posted.body, source.where, source.secrets)


def by_service_account(source: TokenSource, file: Path) -> Grant:
    """A service account at Google that acts for the mailbox (domain-wide delegation)."""
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2 import service_account

    try:
        key = json.loads(_read(file, "OUTBOX_TOKEN_SERVICE_ACCOUNT_FILE"))
        credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            key, scopes=[source.wanted_scope], subject=source.username
        )
    except (ValueError, GoogleAuthError):
        raise TokenError(f"{file} is not the JSON key of a service account", refused=True) from None
    client = _Client(source)
    with contextlib.suppress(GoogleAuthError):  # what was answered says why
        credentials.refresh(client)
    if client.posted is None:
        raise TokenError(f"{source.where} was not asked for a token", refused=True)
    return granted(client.posted.status, client.posted.body, source.where, source.secrets)


@dataclass
class _Response:
    """An answer as both libraries read one."""

    answer: Answer
    status: int = field(init=False)
    status_code: int = field(init=False)
    data: bytes = field(init=False)
    text: str = field(init=False)
    headers: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.status = self.status_code = self.answer.status
        self.data, self.headers = self.answer.body, self.answer.headers
        self.text = self.data.decode("utf-8", "replace")

    def raise_for_status(self) -> None:
        """As msal expects it."""
        if self.status >= 400:
            raise TokenError(f"the token endpoint answered {self.status}", refused=self.status < 500)


class _Client:
    """Sends the libraries' requests, and keeps the last answer to a POST: google-auth calls it, msal its methods."""

    def __init__(self, source: TokenSource) -> None:
        self.posted: Answer | None = None
        self._source = source

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Response:
        return self._send(url, body if method == "POST" else None, headers or {})

    def post(
        self, url: str, params: Any = None, data: Any = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> _Response:
        """For msal."""
        form = {name: value for name, value in dict(data or {}).items() if value is not None}
        sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self._send(url, urlencode(form).encode(), sent)

    def get(self, url: str, params: Any = None, headers: Mapping[str, str] | None = None, **_: Any) -> _Response:
        """For msal, which asks where the endpoint of a tenant is."""
        return self._send(f"{url}?{urlencode(params)}" if params else url, None, headers or {})

    def close(self) -> None:
        """Nothing stays open."""

    def _send(self, url: str, body: bytes | None, headers: Mapping[str, str]) -> _Response:
        source = self._source
        where = url.partition("?")[0] if body is None else source.where
        answer = send(url, body, headers, ca_file=source.ca_file, where=where)
        if body is not None:
            self.posted = answer
            granted(answer.status, answer.body, source.where, source.secrets)  # else the library logs what it holds
        return _Response(answer)


def _read(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TokenError(
            f"{setting} names {str(file)!r}, which can't be read: {error.strerror}", refused=True
        ) from None
