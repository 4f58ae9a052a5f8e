"""Replacements for Flask-Mail's own classes: a message without a DNS look-up, a connection that enqueues."""

from __future__ import annotations

import copy
import email.message
import functools
from collections.abc import Callable, Iterable
from email.header import Header
from email.headerregistry import BaseHeader
from email.policy import SMTPUTF8
from email.utils import make_msgid, parseaddr
from os import PathLike
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

import flask_mail
from flask import current_app

from outbox.core.errors import AddressError, MessageError, MissingFieldError, NotBoundError, OutboxError
from outbox.extension.draft import OURS
from outbox.extension.errors import as_in_flask_mail
from outbox.message import prebuilt
from outbox.message.address_fields import mailboxes_in
from outbox.message.address_rules import split
from outbox.message.addresses import Mailbox, is_pair, mailbox_of
from outbox.message.coerce import file_name, is_empty, items_of, kind_of, plain

Address = str | tuple[str, str]


class Message(flask_mail.Message):
    """A `flask_mail.Message` with the same arguments that asks no name server.

    `flask_mail.Message()` makes a Message-ID with the machine's own host name, which it looks up: in the request, and
    for seconds where DNS is slow. The outbox makes a Message-ID of its own, which ends in the domain of From, unless
    the application sets `msgId`; once a message is enqueued, `msgId` is the one that it goes out with.
    """

    signer: Callable[[bytes], bytes] | None = None
    """Signs the body, by S/MIME for example: gets the composed MIME entity and returns the signed one."""

    locale: str | None = None
    """Its language, such as "de", unless `enqueue` is given another; `compose_email(…, locale=…)` sets it."""

    def __init__(
        self,
        subject: str = "",
        recipients: list[Address] | None = None,
        body: str | None = None,
        html: str | None = None,
        alts: dict[str, str] | Iterable[tuple[str, str]] | None = None,
        sender: Address | None = None,
        cc: list[Address] | None = None,
        bcc: list[Address] | None = None,
        attachments: list[flask_mail.Attachment] | None = None,
        reply_to: Address | None = None,
        date: float | None = None,
        charset: str | None = None,
        extra_headers: dict[str, str] | None = None,
        mail_options: list[str] | None = None,
        rcpt_options: list[str] | None = None,
    ) -> None:
        if sender is None:
            bound = current_app.extensions.get("mail")
            if bound is None:
                raise NotBoundError(
                    f"The application {current_app.name!r} has no outbox. Call mail.init_app(app) when it is created."
                )
            sender = bound.default_sender
        if isinstance(sender, tuple):
            sender = sender[1] if not sender[0] else f"{sender[0]} <{sender[1]}>"
        self.recipients = recipients or []
        self.subject = subject
        self.sender = sender
        self.reply_to = reply_to
        self.cc = cc or []
        self.bcc = bcc or []
        self.body = body
        self.alts = dict(alts or {})
        if html is not None or "html" not in self.alts:  # Flask-Mail loses the HTML of `alts` here
            self.html = html
        self.date = date
        self.msgId = make_msgid(domain=_domain(sender) if type(sender) is str else "localhost")
        setattr(self, OURS, self.msgId)
        self.charset = charset
        self.extra_headers = extra_headers
        self.mail_options = mail_options or []
        self.rcpt_options = rcpt_options or []
        self.attachments = attachments or []

    def __repr__(self) -> str:
        """Whose it is and to whom, without what it says."""
        recipients = _shown([*self.recipients, *self.cc, *self.bcc], 100)
        return f"<{type(self).__name__} {_shown(self.subject, 80)} from {_shown(self.sender, 80)} to {recipients}>"

    def attach(
        self,
        filename: str | PathLike[str] | None = None,
        content_type: str | None = None,
        data: str | bytes | None = None,
        disposition: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """As in Flask-Mail; the name may also be a path, of which the last part is sent, or a lazy string."""
        name = None if filename is None else file_name(filename, "filename")
        super().attach(name, content_type, data, disposition, headers)


class RawMessage(Message):
    """A message whose bytes the application has built, with header and body: they go out as they are.

    `content`: bytes (RFC 5322), or a message object of the standard library. `recipients`: the envelope's; by default
    To, Cc and, of a message object, Bcc, which must be readable then. `sender`: by default the address in From. Raises
    MessageError for what can't be sent as it is: a Bcc field, a lone LF, a line beyond 998 octets. A From that is not
    the sender's is refused when it is enqueued; a missing Date or Message-ID is added.
    """

    @as_in_flask_mail
    def __init__(
        self,
        content: bytes | bytearray | memoryview | email.message.Message,
        recipients: list[Address] | None = None,
        sender: Address | None = None,
    ) -> None:
        if isinstance(content, email.message.Message):
            bcc = _bcc(content) if recipients is None else []
            content = _flat(content)
        elif isinstance(content, bytes | bytearray | memoryview):
            bcc, content = [], bytes(content)
        else:
            raise MessageError(
                "content", f"is {kind_of(content)}", "Give bytes, or a message object of Python's email."
            )
        found = prebuilt.read(content, ("to", "cc") if recipients is None else ())
        people = found.mailboxes
        if recipients is None:
            recipients = [one.address for one in (*people.get("to", ()), *people.get("cc", ()), *bcc)]
        if sender is None and people.get("from"):
            sender = people["from"][0].address
        super().__init__(found.value("subject") or "", recipients, sender=sender)
        self.content = content

    def as_bytes(self) -> bytes:
        """What is sent."""
        return self.content


def _flat(message: email.message.Message) -> bytes:
    """Without Bcc, which `smtplib.SMTP.send_message` leaves out, too."""
    flat = copy.copy(message)
    flat._headers = list(flat._headers)  # type: ignore[attr-defined]  # a copy shares them
    del flat["Bcc"], flat["Resent-Bcc"]
    return flat.as_bytes(policy=message.policy.clone(linesep="\r\n", max_line_length=998))


def _bcc(message: email.message.Message) -> list[Mailbox]:
    """Whom its Bcc names."""
    values = [value for name, value in message.raw_items() if name.lower() == "bcc"]
    return [mailbox for value in values for mailbox in mailboxes_in(_encoded(value), "Bcc")]


def _encoded(value: Any) -> str:
    """A field's value as it would be written: `str` gives it decoded, where a comma in a name separates addresses."""
    if isinstance(value, BaseHeader):
        return value.fold(policy=SMTPUTF8.clone(max_line_length=998)).partition(":")[2].strip()
    text = value.encode() if isinstance(value, Header) else str(value)
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _shown(value: object, most: int) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


class Enqueues(Protocol):
    """What a connection needs to know of the outbox."""

    def enqueue(self, message: flask_mail.Message, *, envelope_from: Address | None = None) -> Any: ...


class Connection(flask_mail.Connection):
    """What `Outbox.connect()` gives: it opens nothing, and `send` enqueues. `with` is not needed."""

    def __init__(self, mail: Enqueues) -> None:
        super().__init__(mail)  # type: ignore[arg-type]  # Flask-Mail itself passes the state, and names the face
        self._outbox = mail

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        pass

    def configure_host(self) -> NoReturn:
        """Refuses: a request talks to no mail server."""
        raise OutboxError("This connection only enqueues; the worker (flask outbox-sender) talks to the mail server.")

    def send(self, message: flask_mail.Message, envelope_from: Address | None = None) -> None:
        """Enqueue `message` in the current session. `envelope_from`: the address for MAIL FROM, if not the sender's."""
        self._outbox.enqueue(message, envelope_from=envelope_from or None)
        self.num_emails += 1

    def send_message(self, *args: Any, **kwargs: Any) -> None:
        """The same for a message made of these arguments."""
        self.send(Message(*args, **kwargs))


@as_in_flask_mail
def recipients_of(to: object) -> list[Any]:
    """What `send_email` takes for `to`: an address, a pair (name, address), or several, as a list of recipients."""
    if is_empty(to):
        problem = "is None" if plain(to, "to") is None else "is empty"
        raise MissingFieldError("to", problem, "Give an address, or a list of them.")
    to = plain(to, "to")
    if isinstance(to, str | bytes) or not isinstance(to, Iterable):
        return [to]
    recipients = items_of(to, "to")
    return [tuple(recipients)] if is_pair(recipients) else recipients


@as_in_flask_mail
def split_addresses(text: str, field: str = "addresses") -> list[str]:
    """The addresses in a setting, such as FLASKY_ADMIN: `ann@example.org, Bob <bob@example.org>`; none in a blank one.

    Cut only at commas between complete addresses. Raises AddressError for anything else. Not for what users typed: who
    may type one address could then have the message sent to another one, too.
    """
    pieces = split(text.strip()) if text.strip() else []
    for piece in pieces:
        try:
            mailbox_of(piece, field)
        except AddressError as error:
            remedy = "Separate addresses by commas: ann@example.org, Bob <bob@example.org>."
            raise AddressError(field, error.problem, remedy if "several" in error.problem else error.remedy) from None
    return pieces


@functools.lru_cache(maxsize=256)  # there are few senders, and parsing one costs more than all the rest here
def _domain(sender: str) -> str:
    """Of the sender, if that can stand in a Message-ID."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    return domain if domain.isascii() and domain.replace("-", "").replace(".", "").isalnum() else "localhost"
