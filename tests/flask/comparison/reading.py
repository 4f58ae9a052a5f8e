"""What a message says, whoever wrote its bytes: read with the standard library, compared value by value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import EmailMessage, Message
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any

from tests.unit.message.composing import leaves

Sense = dict[str, Any]
"""Aspect → value: the envelope, the address fields, subject, texts, attachments, the other headers, the date."""

_ADDRESS_FIELDS = {"from": "From", "to": "To", "cc": "Cc", "reply_to": "Reply-To"}
_READ_ELSEWHERE = {"from", "to", "cc", "reply-to", "subject", "date", "mime-version", "message-id"}
_PART_HEADERS = {"content-type", "content-disposition", "content-transfer-encoding", "mime-version"}
_UNDISCLOSED = [("", "")]
_QUOTED_DOTS = re.compile(r'"([A-Za-z0-9!#$%&\'*+/=?^_`{|}~.-]+)"@')


def sense_of(mail_from: str, recipients: Iterable[str], content: bytes, now: float) -> Sense:
    """What a recipient and a mail server make of one message; `now`: a Date within ten minutes of it is "now"."""
    parsed = message_from_bytes(content, policy=policy.compat32)
    sense: Sense = {
        "mail_from": _address(mail_from),
        "recipients": sorted({_address(recipient) for recipient in recipients}),
        "subject": decoded(parsed["Subject"] or ""),
        "date": _date(parsed["Date"], now),
        "message_id": [value for value in parsed.get_all("Message-ID", []) if "mine" in value],
        "headers": _headers(parsed),
    }
    for aspect, name in _ADDRESS_FIELDS.items():
        sense[aspect] = _people(parsed, name)
    return sense | _body(message_from_bytes(content, EmailMessage, policy=policy.default))


def decoded(value: str) -> str:
    """A header's value, unfolded, its encoded words decoded."""
    return _joined(decode_header(re.sub(r"\r?\n(?=[ \t])", "", str(value))))


def _joined(pieces: Iterable[tuple[Any, str | None]]) -> str:
    return "".join(piece if isinstance(piece, str) else _decoded_piece(piece, charset) for piece, charset in pieces)


def _decoded_piece(piece: bytes, charset: str | None) -> str:
    return piece.decode(charset if charset and charset != "unknown-8bit" else "utf-8", "replace")


def _people(parsed: Message, name: str) -> list[tuple[str, str]]:
    """(name, address) of each person in the fields of this name, sorted: Flask-Mail's order is a set's."""
    raw = [re.sub(r"\r?\n(?=[ \t])", "", _utf8(value)) for value in parsed.get_all(name, [])]
    people = [(decoded(person), _address(address)) for person, address in getaddresses(raw)]
    return [] if people == _UNDISCLOSED else sorted(set(people))


def _utf8(value: Any) -> str:
    """A field that holds raw UTF-8 comes as a Header, or as surrogates."""
    if isinstance(value, str):
        return value.encode("ascii", "surrogateescape").decode("utf-8", "replace")
    return _joined(decode_header(value))


def _address(address: str) -> str:
    """The domain in lower case, and no quotes round a local part that differs by its dots only."""
    local, at, domain = address.rpartition("@")
    return _QUOTED_DOTS.sub(r"\1@", f"{local}{at}{domain.lower()}")


def _date(value: str | None, now: float) -> Any:
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except ValueError:
        return value
    return "now" if abs(moment - now) < 600 else int(moment)


def _headers(parsed: Message) -> list[tuple[str, str]]:
    """The other headers, without those that a message has by itself."""
    found = [(name.lower(), decoded(_utf8(value)).strip()) for name, value in parsed.items()]
    return sorted(
        (name, value)
        for name, value in found
        if name not in _READ_ELSEWHERE
        and not name.startswith("content-")
        and (name, value) != ("auto-submitted", "auto-generated")
    )


def _body(parsed: EmailMessage) -> Sense:
    """The texts that a reader may choose from, by type, and what hangs on the message, in order."""
    texts: dict[str, str] = {}
    attachments = []
    for part in leaves(parsed):
        kind = part.get_content_type()
        if part.get_content_maintype() == "text" and "Content-Disposition" not in part and kind not in texts:
            text = _text(part)
            if text or kind == "text/plain":
                texts[kind] = text
        else:
            attachments.append(_attachment(part, kind))
    return {
        "text": texts.pop("text/plain", ""),
        "html": texts.pop("text/html", ""),
        "alternatives": sorted(texts.items()),
        "attachments": sorted(attachments, key=repr),
    }


def _text(part: EmailMessage) -> str:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    text = data.decode(part.get_content_charset("utf-8"), "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


def _attachment(part: EmailMessage, kind: str) -> tuple[Any, ...]:
    """(name, type, disposition, data, the headers of its own)."""
    data = _data(part)
    headers = sorted(
        (name.lower(), decoded(str(value)).strip()) for name, value in part.items() if name.lower() not in _PART_HEADERS
    )
    return (part.get_filename() or "", kind, part.get_content_disposition() or "", data, headers)


def _data(part: EmailMessage) -> bytes:
    if part.get_content_maintype() == "message":
        payload = part.get_payload()
        inner = payload[0] if isinstance(payload, list) else payload
        return bytes(inner)  # type: ignore[arg-type]
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data
