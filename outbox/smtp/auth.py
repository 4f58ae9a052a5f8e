"""Logging in: the SASL mechanisms, as pure steps (RFC 4954; CRAM-MD5 RFC 2195, PLAIN RFC 4616, XOAUTH2 by Google)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`initial` goes with the AUTH command; each challenge (decoded) is answered by the next of `answers`."""

    name: str
    initial: bytes | None
    answers: Sequence[Callable[[bytes], bytes]]


def mechanisms(
    offered: Iterable[str], username: str, password: str, insist: str | None, private: bool
) -> list[Mechanism]:
    """What may be tried, best first. `private` says that the connection is encrypted."""
    names = {name.upper() for name in offered}
    if insist is not None:
        order = [insist.upper()]
    elif private:
        order = ["PLAIN", "LOGIN", "CRAM-MD5"]
    else:
        order = ["CRAM-MD5", "PLAIN", "LOGIN"]
    return [_MAKERS[name](username.encode(), password.encode()) for name in order if name in names and name in _MAKERS]


def encode(answer: bytes) -> bytes:
    """An answer as it goes over the wire."""
    return base64.b64encode(answer)


def decode(challenge: bytes) -> bytes | None:
    """A challenge as it was meant; None if it is no base64."""
    try:
        return base64.b64decode(challenge.strip(), validate=True)
    except binascii.Error:
        return None


def _plain(username: bytes, password: bytes) -> Mechanism:
    return Mechanism("PLAIN", b"\0" + username + b"\0" + password, ())


def _login(username: bytes, password: bytes) -> Mechanism:
    return Mechanism("LOGIN", None, (lambda _: username, lambda _: password))


def _cram_md5(username: bytes, password: bytes) -> Mechanism:
    def answer(challenge: bytes) -> bytes:
        return username + b" " + hmac.new(password, challenge, "md5").hexdigest().encode()

    return Mechanism("CRAM-MD5", None, (answer,))


def _xoauth2(username: bytes, token: bytes) -> Mechanism:
    """The password is an access token. A refusal comes as a challenge (JSON) that wants an empty answer."""
    return Mechanism("XOAUTH2", b"user=" + username + b"\x01auth=Bearer " + token + b"\x01\x01", (lambda _: b"",))


_MAKERS = {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5, "XOAUTH2": _xoauth2}
