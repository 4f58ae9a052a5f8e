"""The log-in over a channel that has said EHLO: mechanism after mechanism, with a password or an access token."""

from __future__ import annotations

import base64
from collections.abc import Callable

from outbox.core.loggers import get_logger
from outbox.delivery.verdicts import Failure
from outbox.settings.relay import Relay
from outbox.settings.token_source import TokenSource
from outbox.smtp import auth
from outbox.smtp.broken import Broken
from outbox.smtp.sockets import Wire
from outbox.smtp.token_answer import TokenError
from outbox.smtp.tokens import YOUNG_SECONDS, Token, shared

log = get_logger("outbox.transport")

HIDDEN = b"[hidden]"


def token_for(source: TokenSource, wire: Wire, limit: float, refused: Token | None = None) -> Token:
    """A token that is valid and not `refused`, within `limit` seconds. Raises Broken."""
    try:
        return shared(source).get(limit, wire.event, refused=refused)
    except TokenError as error:
        failure = Failure.TOKEN_REFUSED if error.refused else Failure.NO_TOKEN
        raise Broken(failure, f"no access token: {error.text}")


def is_worn(token: Token | None, code: int, now: float) -> bool:
    """Whether the log-in was refused with a token that was good once: another one may be taken."""
    return token is not None and code >= 500 and now - token.born > YOUNG_SECONDS


def log_in(relay: Relay, wire: Wire, offered: list[str], token: Token | None, *, private: bool) -> tuple[int, bytes]:
    """The reply that decided: 235, or that to the last mechanism. Raises Broken.

    `offered`: the relay's mechanisms; `private`: the connection is encrypted.
    """
    bearer = None if token is None else token.value
    known = auth.mechanisms(
        offered,
        auth.Account(relay.username or "", relay.password or "", relay.host, relay.port, bearer),
        relay.auth,
        private=private,
    )
    if not known:
        wanted = relay.auth or ("PLAIN, LOGIN or CRAM-MD5" if token is None else "XOAUTH2 or OAUTHBEARER")
        raise Broken(
            Failure.NO_MECHANISM,
            f"no common way to log in: the relay offers {' '.join(offered) or 'none'}, wanted is {wanted}",
        )
    code, text = 0, b""
    for mechanism in known:
        code, text = _authenticate(relay.name, wire, mechanism)
        if code == 235 or not auth.is_about_mechanism(code, text):
            break
    return code, _without(text, relay.password, bearer)


def _authenticate(name: str, wire: Wire, mechanism: auth.Mechanism) -> tuple[int, bytes]:
    log.debug("%s: AUTH %s", name, mechanism.name)
    command = b"AUTH " + mechanism.name.encode()
    said = []
    if mechanism.initial is not None:
        said.append(auth.encode(mechanism.initial))
        command += b" " + said[0]
    wire.write(command + b"\r\n")
    code, text = wire.read_reply()
    reason = b""
    for turn in range(auth.CHALLENGES):
        if code != 334:
            break
        challenge = auth.decode(text)
        if mechanism.tells_reason:
            reason = b" " + (challenge or b"")
        answer = mechanism.answer(challenge, turn)
        if answer is None:
            break
        said.append(auth.encode(answer))
        wire.write(said[-1] + b"\r\n")
        code, text = wire.read_reply()
    text += reason
    for secret in filter(None, said):
        text = text.replace(secret, HIDDEN)
    return code, text


def _without(text: bytes, *secrets: str | None) -> bytes:
    """What a relay said, without the secrets that it may have repeated."""
    forms: tuple[Callable[[bytes], bytes], ...] = (bytes, base64.b64encode)
    for secret in secrets:
        if secret:
            for form in forms:
                text = text.replace(form(secret.encode()), HIDDEN)
    return text
