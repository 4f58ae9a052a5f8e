"""Mail addresses: what people write → a mailbox (RFC 5322 §3.4, RFC 5321 §4.1.2), with IDNA 2008 domains.

Domains become A-labels (UTS 46 mapping, not transitional: `faß.de` stays itself). A local part beyond ASCII is allowed
(RFC 6531); it is then in headers as raw UTF-8 (RFC 6532), the only 8-bit octets this package writes, and the
message needs a server that offers SMTPUTF8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from outbox.core.errors import AddressError, MessageError
from outbox.message.address_rules import REMEDY, checked, refuse_several, split
from outbox.message.coerce import plain, text_of
from outbox.message.header_encoding import check_text, clean_text, encoded_words, looks_encoded
from outbox.message.received import decoded

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r'(["\\])')
_UNESCAPE = re.compile(r"\\(.)")
_LONG_WORD = re.compile(r"[^ ]{60}")
_ELEMENT = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
_LENGTH = 1000  # characters of a name and its address
_WORD = r"[A-Za-z0-9_+-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ORDINARY = re.compile(rf"({_WORD}(?:\.{_WORD})*)@({_LABEL}(?:\.{_LABEL})*)")
"""What nearly all addresses look like; `parse` would give them back as they are."""
_ORDINARY_LENGTH = 250


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A name, which may be empty, and an address."""

    name: str
    local: str
    domain: str  # ASCII; in the case it was written in

    @property
    def address(self) -> str:
        """As it is in headers."""
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


def parse(text: str, field: str, *, sender: bool = False) -> Mailbox:
    """`ann@example.org`, `<ann@example.org>`, `Ann <ann@example.org>` or `"Ann, PhD" <ann@example.org>`.

    The name may hold anything, quoted or not: Flask-Mail turns `sender=("Ann, PhD", …)` into a string without quoting.
    Encoded words in it, as `email.utils.formataddr` writes them, are decoded.
    Raises AddressError, also for several addresses, and BadHeaderError for a line break or control character.
    """
    text = text.rstrip(" ")
    if len(text) > _LENGTH:
        raise AddressError(field, f"has {len(text):,} characters", REMEDY)
    refuse_several(clean_text(text, field), field, sender=sender)
    if text.endswith(">"):
        name, bracket, address = text[:-1].rpartition("<")
        if bracket:
            return pair(_unphrased(name.strip(" ")), address, field)
    elif "<" in text and ">" in text and '"@' not in text:
        raise AddressError(field, f"{text[:120]!r} has text after the >", REMEDY)
    return pair("", text, field)


def pair(name: str, address: str, field: str) -> Mailbox:
    """A mailbox from a name, taken literally, and an address. Raises as `parse` does."""
    name = clean_text(decoded(name), field, tab=False)
    if len(name) > _LENGTH:
        raise AddressError(field, f"has a name of {len(name):,} characters", "Shorten it.")
    address = check_text(address, field, tab=False).strip()
    if len(address) > _LENGTH:
        raise AddressError(field, f"has {len(address):,} characters", REMEDY)
    refuse_several(address, field, sender=False)
    return Mailbox(name, *checked(address, field))


def mailbox_of(value: object, field: str, *, sender: bool = False) -> Mailbox:
    """What Flask-Mail takes for an address: a string, or a pair (name, address). Raises as `parse` does."""
    if type(value) is str and len(value) <= _ORDINARY_LENGTH and (found := _ORDINARY.fullmatch(value)) is not None:
        return Mailbox("", found[1], found[2])
    value = plain(value, field)
    if value is None:
        raise AddressError(field, "is None", REMEDY)
    if not isinstance(value, tuple | list):
        return parse(text_of(value, field), field, sender=sender)
    if len(value) != 2:
        raise AddressError(field, f"is a {type(value).__name__} of {len(value)}", REMEDY)
    if isinstance(value, list) and not (sender or is_pair(value)):
        raise AddressError(field, "is a list within the list", "Give each address by itself, and a name in a tuple.")
    name, address = value
    if plain(address, field) is None:
        raise AddressError(field, "is a pair with None for the address", REMEDY)
    return pair(_name(name, field), text_of(address, field), field)


def sender_of(value: object, field: str = "sender") -> Mailbox:
    """A sender: an address, or a pair, also as a list. Raises as `parse` does.

    Flask-Mail's Message makes "None <shop@example.com>" of the pair (None, "shop@example.com").
    """
    if type(value) is str:
        return _sender(value, field)
    value = plain(value, field)
    if isinstance(value, list) and len(value) == 2 and "@" in _name(value[0], field):
        raise AddressError(field, "is a list of addresses", "Give one; further ones for answers go into reply_to.")
    return _unnamed(mailbox_of(value, field, sender=True))


@lru_cache(256)  # an application has few
def _sender(text: str, field: str) -> Mailbox:
    return _unnamed(mailbox_of(text, field, sender=True))


def _unnamed(mailbox: Mailbox) -> Mailbox:
    return Mailbox("", mailbox.local, mailbox.domain) if mailbox.name == "None" else mailbox


def _name(value: object, field: str) -> str:
    return "" if plain(value, field) is None else text_of(value, field)


def is_pair(value: object) -> bool:
    """Whether a list or tuple is a name and an address rather than two addresses."""
    if not isinstance(value, list | tuple) or len(value) != 2 or any(isinstance(part, list | tuple) for part in value):
        return False
    try:
        name, address = ("" if part is None else text_of(part, "name") for part in value)
    except MessageError:
        return False
    return "@" not in name and "@" in address


def parse_list(text: str, field: str) -> list[Mailbox]:
    """Addresses separated by commas, as in a header field. Raises as `parse` does."""
    return [parse(element, field) for element in split(text)]


def unique_mailboxes(mailboxes: Iterable[Mailbox]) -> tuple[Mailbox, ...]:
    """Each address once, the first with its name, in order."""
    mailboxes = tuple(mailboxes)
    if len(mailboxes) < 2:
        return mailboxes
    first: dict[str, Mailbox] = {}
    for mailbox in mailboxes:
        first.setdefault(mailbox.envelope, mailbox)
    return tuple(first.values())


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
