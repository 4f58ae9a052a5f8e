"""Hostile content: what is accepted comes back from the wire as it was put in; what is not, we refuse ourselves.

`OUTBOX_EXAMPLES=10000 pytest --timeout 900 tests/unit/message/test_compose_property.py` is the long form.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default as policy
from email.utils import getaddresses
from typing import Any

import flask_mail
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from werkzeug.local import LocalProxy

from outbox.core.errors import OutboxError
from outbox.extension.draft import draft_of
from outbox.message.compose import compose
from outbox.message.preview import preview
from outbox.message.received import decoded
from outbox.message.values import Composed
from tests.unit.message.callers import TEXTS, Several
from tests.unit.message.composing import leaves
from tests.unit.message.hostile import acceptable, anyone, anything, usually

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
UNIQUE = "0123456789abcdef0123456789abcdef"
MIME = {"mime-version", "content-type", "content-transfer-encoding"}

hostile = settings(
    max_examples=int(os.environ.get("OUTBOX_EXAMPLES", "80")),
    deadline=None,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=list(HealthCheck),
)


@hostile
@given(acceptable())
def test_what_is_accepted_comes_back(drawn: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Headers, addresses, text, HTML and attachments are what was put in, and nothing else is there.

    But for encoded words, which stand for their text (`test_compose_received.py` holds the decoding).
    """
    arguments, people = drawn
    message = flask_mail.Message(**arguments)  # not in the strategy: it draws a random Message-ID
    composed = _composed(message)
    parsed = _checked(composed)
    if composed.utf8 is not None:
        other = composed.wire("ö@x")
        assert len(other) == composed.size + composed.utf8.longer
        assert other.partition(b"\r\n\r\n")[2] == composed.wire().partition(b"\r\n\r\n")[2]
    _assert_headers(message, parsed)
    _assert_people(composed, parsed, people)
    _assert_texts(message, parsed)
    attached = [(_filename(part), part.get_payload(decode=True)) for part in _attached(parsed)]
    assert sorted(attached) == sorted(map(_expected, message.attachments))
    assert preview(composed.wire()).text is not None


@hostile
@given(anything, usually(None, anyone))
def test_what_is_not_accepted_is_refused_by_us(attributes: dict[str, Any], envelope_from: Any) -> None:
    """Whatever stands in a message, compose() raises the project's own error or writes sound bytes."""
    message = flask_mail.Message("s", ["ann@example.org"], sender="bob@example.org")
    for name, value in attributes.items():
        setattr(message, name, value)
    try:
        composed = _composed(message, envelope_from=envelope_from)
    except OutboxError as error:
        event(type(error).__name__)
        return
    event("accepted")
    assert not any(isinstance(value, Several) for value in _given(attributes))
    parsed = _checked(composed)
    assert [name for name in parsed if name.lower() not in MIME] == [name for name, _ in composed.headers]


@hostile
@given(acceptable(), st.lists(st.sampled_from((None, *TEXTS)), min_size=10, max_size=10))
def test_callers_types_make_no_difference(drawn: tuple[dict[str, Any], Any], wrappers: list[Any]) -> None:
    """Proxies, lazy strings, subclasses and bytes give the bytes that plain strings give."""
    arguments, _ = drawn
    plain, wrapped = (flask_mail.Message(**arguments) for _ in range(2))
    plain.msgId = wrapped.msgId = ""  # Flask-Mail draws a random one
    subject, name, address, body, sender, html, key, value, charset, filename = (
        wrap or (lambda text: text) for wrap in wrappers
    )
    wrapped.subject = subject(plain.subject)
    wrapped.sender = sender(plain.sender)
    for field in ("recipients", "cc", "bcc"):
        people = [(name(person), address(mailbox)) for person, mailbox in getattr(plain, field)]
        setattr(wrapped, field, LocalProxy(lambda people=people: people) if wrappers[0] else people)
    wrapped.body = body(plain.body)
    wrapped.html = html(plain.html) if plain.html is not None else None
    wrapped.extra_headers = {key(header): value(text) for header, text in (plain.extra_headers or {}).items()}
    wrapped.charset = charset(plain.charset) if plain.charset else plain.charset
    wrapped.attachments = [
        _attachment(item, item.filename if item.filename is None else filename(item.filename))
        for item in plain.attachments
    ]
    assert _composed(wrapped) == _composed(plain)


def _attachment(item: flask_mail.Attachment, filename: Any) -> flask_mail.Attachment:
    made = flask_mail.Attachment("a", item.content_type, item.data, item.disposition, item.headers)
    made.filename = filename
    return made


def _composed(message: flask_mail.Message, envelope_from: Any = None) -> Composed:
    return compose(
        draft_of(message),
        default_sender=None,
        now=NOW,
        max_bytes=10**7,
        blob_threshold=100,
        envelope_from=envelope_from,
        unique=UNIQUE,
    )


def _given(attributes: dict[str, Any]) -> Iterator[Any]:
    """What was given for addresses."""
    for name in ("recipients", "cc", "bcc", "sender", "reply_to"):
        value = attributes[name]
        yield from value if isinstance(value, list) else [value]


def _checked(composed: Composed) -> EmailMessage:
    """The message as the standard library reads it, after what must hold of any message's bytes."""
    wire = composed.wire()
    assert composed.size == len(wire)
    assert wire.endswith(b"\r\n")
    lines = wire.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    assert wire.isascii() or composed.smtputf8
    parsed = message_from_bytes(wire, EmailMessage, policy=policy)
    names = [name.lower() for name in parsed]
    for name in ("date", "from", "message-id", "mime-version", "content-type"):
        assert names.count(name) == 1
    assert {"to", "cc"} & set(names)
    assert max(names.count("to"), names.count("cc")) == 1
    assert "bcc" not in names
    for part in leaves(parsed):
        assert not part.defects
    return parsed


def _assert_headers(message: flask_mail.Message, parsed: EmailMessage) -> None:
    values = {name.lower(): value for name, value in parsed.items()}
    extra = message.extra_headers or {}
    assert values.get("subject", "") == decoded(message.subject)
    assert values["auto-submitted"] == "auto-generated"
    own = {name: value for name, value in parsed.items() if name in extra}
    assert own == {name: decoded(value) if name.startswith("X-") else value.strip() for name, value in extra.items()}
    optional = {name for name, there in (("subject", message.subject), ("cc", message.cc)) if there}
    expected = {"date", "from", "to", "message-id", "auto-submitted", *map(str.lower, extra)}
    assert set(values) - MIME == expected | optional
    assert len(parsed) == len(extra) + len(expected - {*map(str.lower, extra)} | optional) + len(MIME & set(values))


def _assert_people(composed: Composed, parsed: EmailMessage, people: dict[str, list[tuple[str, str]]]) -> None:
    if all(address.isascii() for key in ("from", "recipients", "cc") for _, address in people[key]):
        for name, key in (("From", "from"), ("To", "recipients"), ("Cc", "cc")):
            assert _people(parsed, name) == [(decoded(person), address) for person, address in people[key]]
    envelope = [address.rpartition("@") for key in ("recipients", "cc", "bcc") for _, address in people[key]]
    assert list(composed.recipients) == list(
        dict.fromkeys(f"{local}@{domain.lower()}" for local, _, domain in envelope)
    )


def _assert_texts(message: flask_mail.Message, parsed: EmailMessage) -> None:
    for text, kind in ((message.body, "plain"), (message.html, "html")):
        if text:
            part = parsed.get_body((kind,))
            assert part is not None
            assert part.get_content() == _canonical(text)


def _people(parsed: EmailMessage, name: str) -> list[tuple[str, str]]:
    """(name, address) as two readers of the standard library agree on.

    The new one keeps the fold between two encoded words of a display name, which RFC 2047 §6.2 drops, and makes one
    space of a run of them, so its names count without white space.
    """
    if name not in parsed:
        return []
    raw = next(value for key, value in parsed.raw_items() if key == name).replace("\r\n", "")
    people = [(str(make_header(decode_header(person))), address) for person, address in getaddresses([raw])]
    newer = [("".join(person.display_name.split()), person.addr_spec) for person in parsed[name].addresses]
    assert newer == [("".join(person.split()), address) for person, address in people]
    return people


def _attached(parsed: EmailMessage) -> list[EmailMessage]:
    bodies = [parsed.get_body((kind,)) for kind in ("plain", "html")]
    return [part for part in leaves(parsed) if not any(part is body for body in bodies)]


def _filename(part: EmailMessage) -> str:
    """The parameter itself: `get_filename()` takes white space and `<>` off its ends."""
    return part["Content-Disposition"].params.get("filename", "")


def _canonical(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")


def _expected(item: flask_mail.Attachment) -> tuple[str, bytes]:
    data = item.data if isinstance(item.data, bytes) else item.data.encode()
    return item.filename or "", data
