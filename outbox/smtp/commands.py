"""MAIL and RCPT for one message and one relay: which extensions the mail needs, and which options may go along."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from outbox.core.value import value
from outbox.delivery.verdicts import Failure
from outbox.message.values import Envelope
from outbox.smtp import report_options

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f<>\ud800-\udfff]")  # surrogates: no UTF-8 has them
_NUMBER = re.compile(r"[0-9]{1,18}")
_LIMIT = re.compile(r"(\w+)=(\S+)")
_OPTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(=[\x21-\x3c\x3e-\x7e]+)?")

_EXTENSION = {  # option of MAIL or RCPT -> the extension that it belongs to, where the names differ
    "body": "8bitmime",
    "ret": "dsn",
    "envid": "dsn",
    "notify": "dsn",
    "orcpt": "dsn",
    "by": "deliverby",
    "holdfor": "futurerelease",
    "holduntil": "futurerelease",
}
_OURS = frozenset({"size", "smtputf8"})  # decided here, from the envelope


@value(frozen=True, slots=True)
class Commands:
    """The commands of one transaction, without CRLF."""

    mail: bytes
    rcpts: tuple[bytes, ...]  # one for each recipient


class UnfitError(Exception):
    """This relay cannot take this mail, or nobody can; nothing was said to it about the mail."""

    def __init__(self, failure: Failure, text: str) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text


def check(envelope: Envelope, recipient: str | None = None) -> None:
    """Raises UnfitError for an envelope that would break out of its command line. `recipient`: in place of its own."""
    recipient = envelope.recipient if recipient is None else recipient
    if _FORBIDDEN.search(envelope.sender) or _FORBIDDEN.search(recipient):
        addresses = f"{envelope.sender!r}, {recipient!r}"
        raise UnfitError(Failure.MALFORMED, f"the envelope ({addresses}) cannot be put into SMTP commands")
    for option in (*envelope.mail_options, *envelope.rcpt_options):
        if not _OPTION.fullmatch(option):
            raise UnfitError(Failure.MALFORMED, f"the option {option!r} cannot be put into an SMTP command")


def commands(
    envelope: Envelope, recipients: Sequence[str], content: bytes | Iterable[bytes], offers: Mapping[str, str]
) -> Commands:
    """What to say to a relay that offers `offers` (keyword in lower case -> parameters). Raises UnfitError.

    `recipients`: in place of the envelope's own; all of them are ASCII, or none is.

    An option of the envelope whose extension is not offered is left out: a server refuses what it does not know
    (RFC 5321 §4.1.1.11), and the mail is worth more than its delivery report. But for REQUIRETLS, which is a condition.
    """
    if (
        envelope.mail_options
        and "requiretls" not in offers
        and any(option.lower() == "requiretls" for option in envelope.mail_options)
    ):
        words = "the mail asks for REQUIRETLS, and the relay does not offer it over a connection with verified TLS"
        raise UnfitError(Failure.NO_REQUIRETLS, words)
    size = _size(envelope, content, offers)
    utf8 = envelope.smtputf8 or not (envelope.sender.isascii() and recipients[0].isascii())
    if utf8 and "smtputf8" not in offers:
        raise UnfitError(
            Failure.NO_SMTPUTF8, "the mail has non-ASCII addresses or headers, and the relay does not offer SMTPUTF8"
        )
    options = [f"SIZE={size}"] if size and "size" in offers else []
    if utf8:
        options.append("SMTPUTF8")
    options += _body(envelope, content, utf8, offers)
    if envelope.mail_options:
        options += _offered(envelope.mail_options, offers)
    more = tuple(_offered(envelope.rcpt_options, offers)) if envelope.rcpt_options else ()
    if envelope.envid and "dsn" in offers:
        options += report_options.of_mail(envelope.envid, options)
        rcpts = tuple([_line(f"RCPT TO:<{one}>", (*more, *report_options.of_rcpt(one, more))) for one in recipients])
    else:
        rcpts = tuple([_line(f"RCPT TO:<{recipient}>", more) for recipient in recipients])
    return Commands(_line(f"MAIL FROM:<{envelope.sender}>", options), rcpts)


def announced(offers: Mapping[str, str], limit: str) -> int | None:
    """A limit that the relay announces (LIMITS, RFC 9422): "MAILMAX" messages on one connection, "RCPTMAX" recipients
    and "RCPTDOMAINMAX" domains in one transaction. None: it does not, or it is none."""
    for name, number in _LIMIT.findall(offers.get("limits", "")):
        if name.upper() == limit:
            return _number(number) or None
    return None


def _size(envelope: Envelope, content: bytes | Iterable[bytes], offers: Mapping[str, str]) -> int:
    size = len(content) if isinstance(content, bytes) else envelope.size
    limit = _number(offers.get("size", ""))
    if limit and limit < size:
        raise UnfitError(Failure.TOO_LARGE, f"the mail has {size} bytes, the relay takes {limit} at most (SIZE)")
    return size


def _number(word: str) -> int | None:
    """A server's number; None if it is invalid, or so large that it limits nothing."""
    return int(word) if _NUMBER.fullmatch(word) else None


def _body(envelope: Envelope, content: bytes | Iterable[bytes], utf8: bool, offers: Mapping[str, str]) -> list[str]:
    eight_bit = not content.isascii() if isinstance(content, bytes) else utf8
    if not eight_bit or any(option.lower().startswith("body=") for option in envelope.mail_options):
        return []
    if "8bitmime" not in offers:
        raise UnfitError(Failure.NO_8BITMIME, "the mail has octets above 127, and the relay does not offer 8BITMIME")
    return ["BODY=8BITMIME"]


def _offered(options: Iterable[str], offers: Mapping[str, str]) -> Iterator[str]:
    for option in options:
        keyword = option.partition("=")[0].lower()
        if keyword not in _OURS and _EXTENSION.get(keyword, keyword) in offers:
            yield option


def _line(command: str, options: Iterable[str]) -> bytes:
    return " ".join((command, *options)).encode()
