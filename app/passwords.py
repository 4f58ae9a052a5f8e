"""What may be a password: a length and no common one, no rules about sorts of characters (NIST SP 800-63B §5.1.1.2)."""

from __future__ import annotations

MIN = 8
MAX = 128  # hashing is slow on purpose; a megabyte of it is an attack

WEAK = 2
"""Below this score zxcvbn expects a password to fall within a million guesses: it is on its lists of common passwords,
names and words, or made from one, from a run of keys, a date, or from what is known about the account."""

_LOOKED_AT = 72  # characters: what zxcvbn looks through in a moment

LENGTH = f"Please use {MIN} to {MAX} characters."
COMMON = "This password is easy to guess: it is a common one, or made from your name or address. Please choose another."


def fault(password: str, *about: str | None) -> str | None:
    """What is wrong with `password`, or None. `about`: the account's name and address, which others know, too."""
    if not MIN <= len(password) <= MAX:
        return LENGTH
    from zxcvbn import zxcvbn  # its lists take 12 MB, which no worker and no command needs

    words = [word for known in about if known for word in (known, *known.split("@"))]
    return COMMON if zxcvbn(password[:_LOOKED_AT], user_inputs=words)["score"] < WEAK else None
