"""Bytes that the application has built, as a subclass of `flask_mail.Message` does: checked and left as they are.

Such code signs by S/MIME, or adds what no argument can say. Header and envelope are checked, and a Date or
Message-ID that is missing is put before the rest; no other byte is touched, but that lines which all end in LF get
CRLF.

Known limits: 8-bit content is announced by BODY=8BITMIME where the relay offers that, and sent all the same where not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from outbox.core.errors import AddressError, BadHeaderError, MessageError
from outbox.message.address_fields import mailboxes_in
from outbox.message.addresses import Mailbox
from outbox.message.coerce import kind_of, text_of
from outbox.message.header_encoding import LINE, split_fields
from outbox.message.message_ids import check_message_id
from outbox.message.received import decoded, unfolded

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_ONCE = frozenset(
    "date from sender reply-to to cc message-id in-reply-to references subject mime-version content-type"  # noqa: SIM905
    " content-transfer-encoding".split()
)
_AUTHORS = ("from", "sender")
_ADDRESSES = (*_AUTHORS, "to", "cc", "reply-to")
_WHAT = "message"


@dataclass(slots=True)
class Given:
    """A message in bytes, and what its header says."""

    content: bytes
    fields: list[tuple[str, str]] = field(default_factory=list)  # name, value as people read it
    mailboxes: dict[str, list[Mailbox]] = field(default_factory=dict)  # by field in lower case; none of an unread one

    def value(self, name: str) -> str | None:
        """Of the field `name`, in lower case."""
        return next((value for found, value in self.fields if found.lower() == name), None)

    def addresses(self) -> Iterator[tuple[str, str]]:
        """(field in lower case, address), for look-up."""
        for name, mailboxes in self.mailboxes.items():
            for mailbox in mailboxes:
                yield name, mailbox.envelope

    @property
    def head(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[0]


def given_by(build: Callable[[], object]) -> Given:
    """What the message's `as_bytes()` returns, read and checked. Raises MessageError."""
    try:
        content = build()
    except MessageError:
        raise
    except Exception as error:
        raise MessageError(_WHAT, f"its as_bytes() raised {type(error).__name__}: {error}", "See the cause.") from error
    if not isinstance(content, bytes | bytearray):
        raise MessageError(_WHAT, f"its as_bytes() returned {kind_of(content)}", "Return bytes.")
    return read(bytes(content))


def read(content: bytes, recipients: Collection[str] = ()) -> Given:
    """`content` checked: lines, and each field of the header. Raises MessageError.

    `recipients`: fields, in lower case, that say who gets it. They must be readable, as From and Sender must; other
    address fields need not be.
    """
    content = checked_lines(content)
    given = Given(content)
    for name, raw in fields_of(given.head):
        lower = name.lower()
        if lower in _ONCE and given.value(lower) is not None:
            raise BadHeaderError(_WHAT, f"has {name} twice", "A message has it once (RFC 5322 §3.6).")
        if lower in {"bcc", "resent-bcc"}:
            raise BadHeaderError(_WHAT, f"has a {name} field", "Take it out: Bcc belongs in the envelope (bcc=) only.")
        if lower in _ADDRESSES:
            given.fields.append((name, _addresses(given, name, raw, strict=lower in _AUTHORS or lower in recipients)))
        else:
            given.fields.append((name, decoded(unfolded(raw)).strip(" \t")))
    return given


def _addresses(given: Given, name: str, raw: str, *, strict: bool) -> str:
    """Note who is in it; the field as people read it, where only names are decoded."""
    try:
        given.mailboxes[name.lower()] = found = mailboxes_in(raw, name)
    except (AddressError, BadHeaderError):
        if strict:
            raise
        found = []
    return ", ".join(map(str, found)) or unfolded(raw).strip(" \t")


def checked_lines(content: bytes, *, mixed: bool = False) -> bytes:
    """`content` with CRLF as line end and one at its end; `mixed`: LF may be a line end beside CRLF."""
    ends = content.count(b"\r\n")
    if content.count(b"\r") != ends or b"\0" in content or (content.count(b"\n") != ends and ends and not mixed):
        raise MessageError(
            _WHAT, "its bytes hold a CR or LF that stands alone, or a NUL", "End each line in CRLF (policy.SMTP does)."
        )
    if content.count(b"\n") != ends:
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    longest = max(map(len, content.split(b"\r\n")))
    if longest > LINE:
        raise MessageError(
            _WHAT,
            f"its bytes hold a line of {longest} octets, more than the {LINE} of RFC 5322 §2.1.1",
            "Encode the part (quoted-printable or base64); relays cut or refuse such lines.",
        )
    return content


def fields_of(head: bytes) -> Iterator[tuple[str, str]]:
    """(name, raw value) of each field. Raises BadHeaderError."""
    for line in split_fields(head):
        found = _FIELD.fullmatch(line)
        if found is None or any(not part.strip() for part in line.split(b"\r\n")[1:]):
            raise BadHeaderError(
                _WHAT,
                f"has a header line that is not a field: {line[:80]!r}",
                "Begin with the header, then a blank line.",
            )
        try:
            yield found[1].decode("ascii"), found[2].decode()
        except UnicodeDecodeError:
            raise BadHeaderError(_WHAT, f"its field {found[1].decode()} is not UTF-8", "Encode it by RFC 2047.")


def check_author(given: Given, sender: Mailbox) -> None:
    """Raises MessageError where the header names another author than the message: pauses and limits go by that."""
    authors = [address for name, address in given.addresses() if name in _AUTHORS]
    if not given.value("from") or sender.envelope not in authors:
        raise MessageError(
            "sender",
            f"is {sender.envelope}, and the bytes of the message say {', '.join(authors) or 'nobody'} in From",
            "Give the message the sender that its bytes name; envelope_from= may be another.",
        )


def check_thread(given: Given, extra: Iterable[tuple[object, object]]) -> None:
    """Raises MessageError where In-Reply-To or References among `extra`, the extra headers, are not in the bytes.

    A subclass that lets Flask-Mail build puts them in; other bytes are left as they are.
    """
    answered = set((given.value("in-reply-to") or "").split())
    found = {"in-reply-to": answered, "references": answered.union((given.value("references") or "").split())}
    for key, value in extra:
        name = text_of(key, "extra_headers").lower()
        if name in found and value is not None and not found[name].issuperset(text_of(value, name).split()):
            raise MessageError(
                name.replace("-", "_"),
                "is not in the bytes that the message builds, which are sent as they are",
                f"Write {name.title()} into their header, and leave the argument out.",
            )


def complete(given: Given, date: str, message_id: str) -> Given:
    """With a Date and a Message-ID before the rest, where they are missing. Raises MessageError for a bad one."""
    missing = [
        (name, value)
        for name, value in (("Date", date), ("Message-ID", message_id))
        if given.value(name.lower()) is None
    ]
    check_message_id(given.value("message-id") or message_id, "Message-ID")
    lines = "".join(f"{name}: {value}\r\n" for name, value in missing).encode("ascii")
    return replace(given, content=lines + given.content, fields=[*missing, *given.fields])
