"""The SASL mechanisms, as pure steps (RFC 4954; CRAM-MD5 RFC 2195, PLAIN RFC 4616, OAUTHBEARER RFC 7628, XOAUTH2 by
Google)."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

CHALLENGES = 3
"""How many challenges of a relay are answered; no mechanism that is known here has more than two."""

_NOT_SUPPORTED = frozenset({500, 501, 502, 503, 504, 534})  # to AUTH: this mechanism, perhaps another
_ABOUT_MECHANISM = re.compile(
    rb"^5\.5\.[14]\b|mechanism|auth\w* (?:method|type|scheme)|not (?:supported|enabled|implement)", re.I
)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`initial` goes with the AUTH command; `answer` takes a challenge (decoded; None if it is no base64) and how many
    came before it. Its None: that is no challenge of this mechanism."""

    name: str
    initial: bytes | None
    answer: Callable[[bytes | None, int], bytes | None]
    tells_reason: bool = False  # a challenge after the initial response says why that was refused


@dataclass(frozen=True, slots=True)
class Account:
    """Who logs in, where, and by what: an access token or, without one, the password."""

    username: str
    password: str = field(repr=False)
    host: str
    port: int
    token: str | None = field(default=None, repr=False)

    @property
    def bearer(self) -> bytes:
        """What the token mechanisms send: without tokens the password is one that nobody renews."""
        return (self.token if self.token is not None else self.password).encode()


def is_about_mechanism(code: int, text: bytes) -> bool:
    """Whether a refusal says that another mechanism may do. A wrong password is wrong with each of them, and each
    further use of it counts towards a lock-out."""
    return code in _NOT_SUPPORTED or (code >= 500 and _ABOUT_MECHANISM.search(text) is not None)


def mechanisms(offered: Iterable[str], account: Account, insist: str | None, *, private: bool) -> list[Mechanism]:
    """What may be tried, best first. `private` says that the connection is encrypted."""
    names = {name.upper() for name in offered}
    if insist is not None:
        order = [insist.upper()]
    elif account.token is not None:
        order = ["XOAUTH2", "OAUTHBEARER"]
    elif private:
        order = ["PLAIN", "LOGIN", "CRAM-MD5"]
    else:
        order = ["CRAM-MD5", "PLAIN", "LOGIN"]
    return [_MAKERS[name](account) for name in order if name in names and name in _MAKERS]


def encode(answer: bytes) -> bytes:
    """An answer as it goes over the wire."""
    return base64.b64encode(answer)


def decode(challenge: bytes) -> bytes | None:
    """A challenge as it was meant; None if it is no base64."""
    try:
        return base64.b64decode(challenge.strip(), validate=True)
    except binascii.Error:
        return None


def _plain(account: Account) -> Mechanism:
    both = f"\0{account.username}\0{account.password}".encode()
    return Mechanism("PLAIN", both, lambda challenge, turn: both if challenge == b"" else None)  # asked for again


def _login(account: Account) -> Mechanism:
    """It is answered by what the prompt asks for; prompts in other words are taken to come in the usual order."""
    username, password = account.username.encode(), account.password.encode()

    def answer(challenge: bytes | None, turn: int) -> bytes:
        prompt = (challenge or b"").lower()
        if b"pass" in prompt:
            return password
        if b"user" in prompt:
            return username
        return password if turn else username

    return Mechanism("LOGIN", None, answer)


def _cram_md5(account: Account) -> Mechanism:
    username, password = account.username.encode(), account.password.encode()

    def answer(challenge: bytes | None, turn: int) -> bytes:
        return username + b" " + hmac.new(password, challenge or b"", "md5").hexdigest().encode()

    return Mechanism("CRAM-MD5", None, answer)


def _xoauth2(account: Account) -> Mechanism:
    """A refusal comes as a challenge (JSON) that wants an empty answer; an empty challenge asks for the token once
    more."""
    initial = b"user=%b\x01auth=Bearer %b\x01\x01" % (account.username.encode(), account.bearer)
    return Mechanism("XOAUTH2", initial, lambda challenge, turn: initial if challenge == b"" else b"", True)


def _oauthbearer(account: Account) -> Mechanism:
    """As XOAUTH2, in the form of RFC 7628: a refusal (JSON) wants a single 0x01."""
    username = account.username.replace("=", "=3D").replace(",", "=2C").encode()
    place = b"host=%b\x01port=%d" % (account.host.strip("[]").encode(), account.port)
    initial = b"n,a=%b,\x01%b\x01auth=Bearer %b\x01\x01" % (username, place, account.bearer)
    return Mechanism("OAUTHBEARER", initial, lambda challenge, turn: initial if challenge == b"" else b"\x01", True)


_MAKERS = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
}
