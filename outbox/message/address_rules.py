"""Which rule an address breaks (RFC 5321 §4.1.2, RFC 6531), said to people; and what is tried although it breaks one.

Tried, since relays take it and such mailboxes exist: more than 64 octets before the @, dots that RFC 5321 allows only
in quotes (`a..b@docomo.ne.jp`: they get the quotes), an underscore in a domain. Whether there is such a mailbox is for
the relay to say.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate

from outbox.core.errors import AddressError

REMEDY = "Give one address like ann@example.org, or a name with it: ('Ann', 'ann@example.org')."

_ATEXT = r'[^\x00- "(),.:;<>@\[\\\]\x7f-\x9f]'  # named by what it leaves out: to compile the rest takes milliseconds
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_DOTTED = re.compile(rf"(?:{_ATEXT}|\.)+")
_QUOTED_STRING = re.compile(r'"(?:[^\x00-\x1f"\\\x7f-\x9f]|\\[ -~])*"')
_LABELS = re.compile(r"(?!.*-(?:\.|$))[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*")
_COMMENT = re.compile(r"\([^()]*\)")
_LENGTH = 320  # octets; RFC 5321 §4.5.3.1 asks servers for 256 at least
_DOMAIN_LENGTH = 253

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_BARE = r'[^\s<>()\[\],;:，；、"@]+@[^\s<>(),;:，；、"@]+'
_ONE_BARE = re.compile(_BARE)
_BRACKETED = re.compile(rf"<\s*{_BARE}\s*>")
_AT_SEPARATORS = re.compile(r"[,;，；、]")
_AT_BLANKS = re.compile(r"[\s,;，；、]+")
_GROUP = re.compile(r'[^"<>@,;]*:(?!//).*;\s*', re.DOTALL)


def checked(address: str, field: str) -> tuple[str, str]:
    """The local part, in quotes where it needs them, and the domain in ASCII. Raises AddressError."""
    local, at, domain = address.rpartition("@")
    if not (at and local and domain):
        raise AddressError(field, _incomplete(address), REMEDY)
    local = _local(local, domain, field)
    domain = _domain(domain, field)
    size = len(local.encode()) + 1 + len(domain)
    if size > _LENGTH:
        raise AddressError(
            field,
            f"{_short(address)} has {size} octets, and no more than {_LENGTH} can be stored",
            "Check the address: 64 octets before the @ and 256 in all are what servers must take (RFC 5321 §4.5.3.1).",
        )
    return local, domain


def refuse_several(text: str, field: str, *, sender: bool) -> None:
    """Raises AddressError where `text` holds several addresses, or a group: all but one would get nothing.

    A sender's name may itself look like an address: `sender=("ann@example.org", "shop@example.com")` reaches us as one
    string without quotes.
    """
    if ";" not in text and text.count("@") < 2:
        return
    plain = _QUOTED.sub("q", text)
    if _GROUP.fullmatch(plain):
        raise AddressError(field, f"{_short(text)} is a group", "Give its members, each by itself, in a list.")
    if _holds_several(plain, sender=sender):
        if sender:
            raise AddressError(
                field, f"{_short(text)} holds several addresses", "Give one; further ones for answers go into reply_to."
            )
        raise AddressError(
            field,
            f"{_short(text)} holds several addresses",
            "Give a list with each address by itself: ['ann@example.org', 'bob@example.org'].",
        )


def split(text: str) -> list[str]:
    """`text` cut at the commas between complete addresses (`Ann <ann@example.org>, bob@example.org`).

    One element if it is anything else: the caller reports what is wrong with it.
    """
    masked = _QUOTED.sub(lambda found: "q" * len(found[0]), text)
    pieces = masked.split(",")
    if not all(_is_complete(piece.strip()) for piece in pieces):
        return [text]
    ends = list(accumulate(len(piece) + 1 for piece in pieces))
    return [text[end - len(piece) - 1 : end - 1].strip() for piece, end in zip(pieces, ends, strict=True)]


def _is_complete(piece: str) -> bool:
    if _ONE_BARE.fullmatch(piece):
        return True
    return piece.endswith(">") and len(_BRACKETED.findall(piece)) == 1 and piece.count("@") == 1


def _holds_several(plain: str, *, sender: bool) -> bool:
    bracketed = list(_BRACKETED.finditer(plain))
    if len(bracketed) > 1:
        return True
    if not bracketed:
        return len(_bare(_AT_BLANKS.split(plain))) > 1
    (only,) = bracketed
    sides = [_AT_SEPARATORS.split(side) for side in (plain[: only.start()], plain[only.end() :])]
    if sender:
        return any(_bare(map(str.strip, pieces)) for pieces in sides if len(pieces) > 1)
    listed = [word for pieces in sides if len(pieces) > 1 for piece in pieces for word in piece.split()]
    if _bare(listed):
        return True
    name = plain[: only.start()].split()
    own = only.group().strip("<> ").lower()
    return len(_bare(name)) == len(name) and any(
        "." in word.rpartition("@")[2] and word.lower() != own for word in name
    )


def _bare(pieces: Iterable[str]) -> list[str]:
    """Those of `pieces` that are nothing but an address."""
    return [piece for piece in pieces if _ONE_BARE.fullmatch(piece)]


def _incomplete(address: str) -> str:
    if not address:
        return "is empty"
    if "@" not in address:
        return f"{_short(address)} is not a mail address: it has no @"
    side = "after" if address.endswith("@") else "before"
    return f"{_short(address)} is not a mail address: there is nothing {side} the @"


def _local(local: str, domain: str, field: str) -> str:
    if "=?" in local:  # readers decode such a thing into another address: =?utf-8?q?a=40b?=
        raise AddressError(field, f'{_short(local)} has "=?" before the @, which starts encoded text', REMEDY)
    invisible = next((character for character in local if not character.isprintable()), None)
    if invisible is not None:
        problem = f"{_short(f'{local}@{domain}')} holds an invisible character (U+{ord(invisible):04X}) before the @"
        raise AddressError(field, problem, "Remove it; it often comes along when an address is copied.")
    if _DOT_STRING.fullmatch(local):
        return local
    if _DOTTED.fullmatch(local):
        return f'"{local}"'
    if _QUOTED_STRING.fullmatch(local):
        if "<" not in local and ">" not in local:
            return local
        raise AddressError(field, f"{_short(local)} has an angle bracket before the @, which is not supported", REMEDY)
    raise AddressError(field, *_of_local(local, domain))


def _of_local(local: str, domain: str) -> tuple[str, str]:
    """What is wrong with it, and what to do."""
    address = _short(f"{local}@{domain}")
    if local.lower().startswith("mailto:"):
        return f"{address} starts with mailto:", "Leave that out: it belongs to links."
    if _COMMENT.search(local):
        return f"{address} has a comment in parentheses", REMEDY
    if local.startswith("<"):
        return f"{address} has an angle bracket at one end only", REMEDY
    if local.startswith('"') or local.endswith('"'):
        return f"{address} has a quotation mark that is not one of a pair around all before the @", REMEDY
    character = next((one for one in local if not re.fullmatch(rf"{_ATEXT}|\.", one)), local[0])
    name = {" ": "a blank", "@": "another @"}.get(character, f"{character!r}")
    escaped = local.replace("\\", "\\\\").replace('"', '\\"')
    remedy = f'Check the address; if it is really this, quote it: "{escaped}"@{domain}.'
    return f"{address} has {name} before the @, which is allowed only in quotes", remedy[:600]


def _domain(domain: str, field: str) -> str:
    ascii_domain = _ascii_domain(domain) if len(domain) <= 255 else None  # what is kept in the cache is short
    if ascii_domain is None:
        raise AddressError(field, f"{_short(domain)} is not a domain of a mail address: {_of_domain(domain)}", REMEDY)
    return ascii_domain


def _of_domain(domain: str) -> str:
    """The rule that it breaks."""
    labels = domain.split(".")
    if _COMMENT.search(domain):
        return "it has a comment in parentheses"
    if domain.startswith("["):
        return "it is not an IP address as [192.0.2.1] or [IPv6:2001:db8::1]"
    invisible = next((character for character in domain if not character.isprintable()), None)
    if invisible is not None:
        return f"it holds an invisible character (U+{ord(invisible):04X})"
    if domain.endswith((",", ";", ">")):
        return f"it ends in {domain[-1]!r}"
    if " " in domain:
        return "it has a blank in it"
    if "" in labels:
        return "it ends in a dot" if not labels[-1] and "" not in labels[:-1] else "it has a dot too many"
    if any(label.startswith("-") or label.endswith("-") for label in labels):
        return "a part of it starts or ends with a hyphen"
    if len(domain) > _DOMAIN_LENGTH:
        return f"it is longer than {_DOMAIN_LENGTH} octets"
    if any(len(label) > 63 for label in labels):
        return "a part of it is longer than 63 octets"
    odd = next((one for one in domain if one.isascii() and not (one.isalnum() or one in "-._")), None)
    return f"it holds {odd!r}" if odd else "it is not valid by IDNA 2008 (RFC 5891)"


@lru_cache(maxsize=1024)
def _ascii_domain(domain: str) -> str | None:
    """The domain in ASCII, None if it is invalid (RFC 5321 §4.1.2, RFC 5891)."""
    if domain.startswith("["):
        return domain if _is_literal(domain) else None
    if not domain.isascii():
        import idna  # not at the top: most addresses are ASCII

        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except UnicodeError:  # idna.IDNAError is one
            return None
    return domain if len(domain) <= _DOMAIN_LENGTH and _LABELS.fullmatch(domain) else None


def _is_literal(domain: str) -> bool:
    inner = domain[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        return False
    return domain.endswith("]") and "%" not in domain


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else f"{text[:119]}…")
