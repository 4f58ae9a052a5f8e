"""The ways to an access token: a token endpoint, Microsoft by certificate, Google by service account, a command, a
function. Each returns a Grant or raises TokenError; each may take long.
"""

from __future__ import annotations

import base64
import functools
import json
import shlex
import subprocess
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

from outbox.core import clock
from outbox.core.loggers import get_logger
from outbox.settings.token_source import TokenSource
from outbox.smtp.refresh_tokens import RefreshTokens
from outbox.smtp.token_answer import Grant, TokenError, granted, made_of
from outbox.smtp.token_http import Answer, send
from outbox.smtp.token_libraries import by_certificate, by_service_account

log = get_logger("outbox.transport")

_COMMAND_SECONDS = 30.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


def fetch(source: TokenSource) -> Grant:
    """A new token. Raises TokenError."""
    if source.function is not None:
        return _by_function(source, source.function())
    if source.command is not None:
        return _by_command(source, source.command)
    if source.service_account_file is not None:
        return by_service_account(source, source.service_account_file)
    if source.url is None:
        raise TokenError("no place to get an access token from is set", refused=True)
    if source.certificate_file is not None:
        return by_certificate(source, source.url, source.certificate_file)
    return _by_endpoint(source, source.url)


def _by_endpoint(source: TokenSource, url: str) -> Grant:
    """By client credentials, or by the refresh token, of which a new one is kept where there is a file for it."""
    if source.refresh_token_file is None:
        grant = _asked(source, url, source.refresh_token)
        if grant.refresh_token not in {None, source.refresh_token}:
            _not_kept(source.where)
        return grant
    kept = RefreshTokens(source.refresh_token_file, source.refresh_token)
    with kept.turn() as token:
        grant = _asked(source, url, token)
        if grant.refresh_token not in {None, token}:
            kept.replace(str(grant.refresh_token))
    return grant


@functools.cache
def _not_kept(where: str) -> None:
    """Once for each provider and process."""
    log.warning(
        "%s gave a new refresh token, which is not kept. If its refresh tokens end or work only once, set "
        "OUTBOX_REFRESH_TOKEN_FILE",
        where,
    )


def _asked(source: TokenSource, url: str, refresh_token: str | None) -> Grant:
    """RFC 6749 §6 with a refresh token, §4.4 (client credentials) without. The client names itself in the form, or,
    where the provider wants that, in the Authorization header (§2.3.1)."""
    form = {"grant_type": "client_credentials"}
    if refresh_token is not None:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if source.wanted_scope is not None:
        form["scope"] = source.wanted_scope
    client = {"client_id": source.client_id or ""}
    if source.client_secret is not None:
        client["client_secret"] = source.client_secret
    answer = _post(source, url, {**form, **client}, {})
    if answer.status == 401 and "basic" in answer.headers.get("WWW-Authenticate", "").lower():
        both = f"{quote_plus(source.client_id or '')}:{quote_plus(source.client_secret or '')}"
        basic = base64.b64encode(both.encode()).decode()
        answer = _post(source, url, form, {"Authorization": f"Basic {basic}"})
    return granted(answer.status, answer.body, source.where, [*source.secrets, *filter(None, [refresh_token])])


def _post(source: TokenSource, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    return send(url, urlencode(form).encode(), {**_FORM, **headers}, ca_file=source.ca_file, where=source.where)


def _by_function(source: TokenSource, given: Any) -> Grant:
    """Of what an application's function returned; also what azure-identity's `get_token` returns."""
    if hasattr(given, "expires_on"):
        return made_of(given.token, given.expires_on - clock.utcnow().timestamp(), source.where)
    if isinstance(given, Mapping):
        return made_of(given.get("access_token"), given.get("expires_in"), source.where)
    if isinstance(given, tuple) and len(given) == 2:
        return made_of(*given, source.where)
    return made_of(given, None, source.where)


def _by_command(source: TokenSource, command: str) -> Grant:
    """What it prints to standard error is not shown, since it may hold secrets."""
    try:
        ran = subprocess.run(  # noqa: S603 - it is the operator's own
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise TokenError(f"{source.where} took longer than {_COMMAND_SECONDS:g} s", refused=False) from None
    except OSError as error:
        raise TokenError(f"{source.where} can't be run: {error.strerror}", refused=True) from None
    if ran.returncode != 0:
        raise TokenError(
            f"{source.where} ended with status {ran.returncode}: run it as the worker's user to see why", refused=False
        )
    printed = ran.stdout.decode("utf-8", "replace").strip()
    try:
        answer = json.loads(printed)
    except ValueError:
        answer = None
    if isinstance(answer, Mapping):
        return made_of(answer.get("access_token"), answer.get("expires_in"), source.where)
    return made_of(printed, None, source.where)
