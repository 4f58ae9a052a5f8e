"""Mail addresses: what people write → a mailbox (RFC 5322 §3.4, RFC 5321 §4.1.2), with IDNA 2008 domains.

Domains become A-labels (UTS 46 mapping, not transitional: `faß.de` stays itself). A local part beyond ASCII is allowed
(RFC 6531); it then stands in headers as raw UTF-8 (RFC 6532), the only 8-bit octets this package writes, and the
message needs a server that offers SMTPUTF8.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import idna

from outbox.errors import AddressError
from outbox.mime.headers import check_text, clean_text, encoded_words, looks_encoded
from outbox.mime.received import decoded
from outbox.mime.values import text_of

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a0-\U0010ffff-]"
_LOCAL = re.compile(rf'{_ATEXT}+(?:\.{_ATEXT}+)*|"(?:[!#-\[\]-~]|\\[!-~])*"')
_LABELS = re.compile(r"(?!.*-(?:\.|$))[A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r'(["\\])')
_UNESCAPE = re.compile(r"\\(.)")
_LONG_WORD = re.compile(r"[^ ]{60}")
_ELEMENT = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
_LENGTH = 1000  # characters of a name and its address

_REMEDY = "Give one address like ann@example.org, or a name with it: ('Ann', 'ann@example.org')."


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A name, which may be empty, and an address."""

    name: str
    local: str
    domain: str  # ASCII; in the case it was written in

    @property
    def address(self) -> str:
        """As it stands in headers."""
        return f"{self.local}@{self.domain}"

    @property
    def envelope(self) -> str:
        """As it goes into the envelope, and what makes two recipients the same: the domain in lower case."""
        return f"{self.local}@{self.domain.lower()}"

    @property
    def wire(self) -> str:
        """As a header field holds it, encoded (RFC 5322 §3.4)."""
        return f"{_phrase(self.name)} <{self.address}>" if self.name else self.address

    def __str__(self) -> str:
        """As people read it."""
        if not self.name:
            return self.address
        return f"{self.name if self.name.replace(' ', '').isalnum() else _quoted(self.name)} <{self.address}>"


def parse(text: str, field: str) -> Mailbox:
    """`ann@example.org`, `<ann@example.org>`, `Ann <ann@example.org>` or `"Ann, PhD" <ann@example.org>`.

    The name may hold anything, quoted or not: Flask-Mail turns `sender=("Ann, PhD", …)` into a string without quoting.
    Encoded words in it, as `email.utils.formataddr` writes them, are decoded.
    Raises AddressError, and BadHeaderError for a line break or control character.
    """
    text = text.rstrip(" ")
    if len(text) > _LENGTH:
        raise AddressError(field, f"has {len(text):,} characters", _REMEDY)
    if text.endswith(">"):
        name, bracket, address = text[:-1].rpartition("<")
        if bracket:
            return pair(_unphrased(name.strip(" ")), address, field)
    return pair("", text, field)


def pair(name: str, address: str, field: str) -> Mailbox:
    """A mailbox from a name, taken literally, and an address. Raises as `parse` does."""
    name = clean_text(decoded(name), field, tab=False)
    if len(name) > _LENGTH:
        raise AddressError(field, f"has a name of {len(name):,} characters", "Shorten it.")
    local, _, domain = check_text(address, field, tab=False).strip().rpartition("@")
    if _LOCAL.fullmatch(local) is None or not _is_plain(local) or len(local.encode()) > 64:
        raise AddressError(field, f"{address[:320]!r} is no mail address", _REMEDY)
    return Mailbox(name, local, _domain(domain, field))


def mailbox_of(value: object, field: str) -> Mailbox:
    """What Flask-Mail takes for an address: a string, or a tuple (name, address). Raises as `parse` does."""
    if not isinstance(value, tuple):
        return parse(text_of(value, field), field)
    if len(value) != 2:
        raise AddressError(field, f"is a tuple of {len(value)}", _REMEDY)
    name, address = value
    return pair("" if name is None else text_of(name, field), text_of(address, field), field)


def parse_list(text: str, field: str) -> list[Mailbox]:
    """Addresses separated by commas, as in a header field. Raises as `parse` does."""
    return [parse(element, field) for element in _ELEMENT.findall(text)]


def unique_mailboxes(mailboxes: Iterable[Mailbox]) -> tuple[Mailbox, ...]:
    """Each address once, the first with its name, in order."""
    first: dict[str, Mailbox] = {}
    for mailbox in mailboxes:
        first.setdefault(mailbox.envelope, mailbox)
    return tuple(first.values())


def _is_plain(local: str) -> bool:
    """No invisible characters, and nothing that readers decode into another address (`=?utf-8?q?a=40b?=`)."""
    return local.isprintable() and "=?" not in local


def _domain(domain: str, field: str) -> str:
    ascii_domain = _ascii_domain(domain) if len(domain) <= 255 else None  # what is kept in the cache is short
    if ascii_domain is None:
        raise AddressError(field, f"{domain[:255]!r} is no domain of a mail address", _REMEDY)
    return ascii_domain


@lru_cache(maxsize=1024)
def _ascii_domain(domain: str) -> str | None:
    """The domain in ASCII, None if it is none (RFC 5321 §4.1.2, RFC 5891)."""
    if domain.startswith("["):
        return domain if _is_literal(domain) else None
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except UnicodeError:  # idna.IDNAError is one
            return None
    return domain if len(domain) <= 253 and _LABELS.fullmatch(domain) else None


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


def _phrase(name: str) -> str:
    """A display name in a header field: atoms, a quoted string, or encoded words (RFC 2047 §5 (3))."""
    if not name.isascii() or looks_encoded(name) or _LONG_WORD.search(name):
        return encoded_words(name, room=66)
    return name if _ATOMS.fullmatch(name) else _quoted(name)


def _quoted(name: str) -> str:
    return '"' + _ESCAPE.sub(r"\\\1", name) + '"'


def _unphrased(name: str) -> str:
    quoted = _QUOTED.fullmatch(name)
    if quoted:
        return _UNESCAPE.sub(r"\1", quoted.group(1))
    return name
