"""Bytes that the application builds: a subclass's, prebuilt ones, a signer's. They are what is sent, or are refused."""

from __future__ import annotations

import email.message
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, compat32
from email.policy import default as policy
from typing import Any

import flask_mail
import pytest
from flask import Flask

from outbox import Message, RawMessage
from outbox.core.errors import BadHeaderError, MessageError, MessageTooLargeError, MissingFieldError
from outbox.extension.additions import with_adds
from outbox.settings import Settings
from tests.unit.message.composing import UNIQUE, composed_of, read

HEAD = b"From: Shop <shop@example.com>\r\nTo: ann@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
WHOLE = HEAD + b"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nHello\r\n"


class Signed(flask_mail.Message):
    """As real code signs: over the bytes of Flask-Mail's own message."""

    def as_bytes(self) -> bytes:
        return b"X-Signed: yes\r\n" + super().as_bytes()


class Tagged(flask_mail.Message):
    """Changes the message object."""

    def _message(self) -> Any:
        made = super()._message()
        made["X-Tag"] = "a"
        return made


@pytest.fixture(autouse=True)
def _context() -> Any:
    app = Flask(__name__)
    flask_mail.Mail(app)
    with app.app_context():
        yield


def of(kind: type[flask_mail.Message], **more: Any) -> flask_mail.Message:
    given = {"subject": "Grüße", "recipients": ["ann@example.org"], "body": "Hello", "sender": "shop@example.com"}
    return kind(**(given | more))


@pytest.mark.parametrize(("kind", "field"), [(Signed, "X-Signed"), (Tagged, "X-Tag")])
def test_what_a_subclass_builds_is_sent(kind: type[flask_mail.Message], field: str) -> None:
    """As Flask-Mail sends it, header and parts; the Message-ID ends in the domain of From, Bcc is in the envelope."""
    message = of(kind, bcc=["secret@example.org"], cc=["carl@example.org"])
    before = message.msgId
    composed = composed_of(message)
    parsed = read(composed)
    assert parsed[field]
    assert parsed["Subject"] == composed.subject == "Grüße"
    assert composed.recipients == ("ann@example.org", "carl@example.org", "secret@example.org")
    assert composed.message_id == parsed["Message-ID"] == f"<{UNIQUE}@example.com>"
    assert composed.wire().replace(field.encode(), b"") != composed.wire()
    assert b"secret" not in composed.wire()
    assert composed.size == len(composed.wire())
    assert "Auto-Submitted" not in parsed
    assert ("to", "ann@example.org") in composed.addresses
    assert (message.msgId, message.date) == (before, None)


def test_one_that_is_set_on_the_object_counts_too() -> None:
    """As Flask-Mail would call it."""
    message = of(flask_mail.Message)
    message.as_bytes = lambda: WHOLE  # type: ignore[method-assign]
    assert composed_of(message).wire() == WHOLE


def test_options_that_the_bytes_bring_along_are_the_envelopes() -> None:
    """Flask-Mail builds the bytes before it reads them."""

    class Traced(flask_mail.Message):
        def as_bytes(self) -> bytes:
            self.mail_options, self.rcpt_options = ["RET=HDRS"], ["NOTIFY=NEVER"]
            return super().as_bytes()

    composed = composed_of(of(Traced))
    assert (composed.mail_options, composed.rcpt_options) == (("RET=HDRS",), ("NOTIFY=NEVER",))


def test_recipients_that_a_subclass_computes_are_the_envelopes() -> None:
    """Flask-Mail sends to `send_to`."""

    class Archived(flask_mail.Message):
        @property
        def send_to(self) -> set[Any]:
            return {*super().send_to, "archive@example.com"}

    assert sorted(composed_of(of(Archived)).recipients) == ["ann@example.org", "archive@example.com"]


@pytest.mark.parametrize("name", ["as_string", "__str__", "__bytes__"])
def test_a_mail_that_nobody_would_send_is_refused(name: str) -> None:
    """Flask-Mail doesn't send what these return either; a text for people is fine."""
    built = WHOLE if name == "__bytes__" else WHOLE.decode()
    with pytest.raises(MessageError, match=r"as_bytes\(\) instead"):
        composed_of(of(type("Built", (flask_mail.Message,), {name: lambda _: built})))
    shown = b"a mail from: me" if name == "__bytes__" else "a mail\nfrom: me"
    assert composed_of(of(type("Shown", (flask_mail.Message,), {name: lambda _: shown}))).subject == "Grüße"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEAD + b"\r\na\nb\r\n", "stands alone"),
        (HEAD + b"\r\na\rb\r\n", "stands alone"),
        (HEAD + b"\r\na\0b\r\n", "NUL"),
        (HEAD + b"\r\n" + b"x" * 999 + b"\r\n", "999 octets"),
        (HEAD + b"X: " + b"x" * 999 + b"\r\n\r\nb\r\n", "octets"),
        (HEAD + b"Bcc: secret@example.org\r\n\r\nb\r\n", "Bcc"),
        (HEAD + b"resent-bcc: secret@example.org\r\n\r\nb\r\n", "resent-bcc"),
        (HEAD + b"subject: twice\r\n\r\nb\r\n", "twice"),
        (HEAD + b"From: eve@example.net\r\n\r\nb\r\n", "twice"),
        (HEAD + b"Message-ID: none\r\n\r\nb\r\n", "not a Message-ID"),
        (HEAD + b"no field\r\n\r\nb\r\n", "not a field"),
        (HEAD + b"X: a\r\n \r\n\r\nb\r\n", "not a field"),
        (HEAD + b"X: \xff\r\n\r\nb\r\n", "not UTF-8"),
        (HEAD.replace(b"shop@", b"eve@") + b"\r\nb\r\n", "eve@example.com in From"),
        (b"To: ann@example.org\r\n\r\nb\r\n", "nobody in From"),
        (b"", "not a field"),
        ("text", "returned of type str"),
        (None, "returned None"),
        (MessageError("x", "y", "z"), "x: y. z"),
        (RuntimeError("no key"), "RuntimeError: no key"),
    ],
)
def test_bytes_that_can_not_be_sent_are_refused(content: Any, words: str) -> None:
    """Before anything is written, with what is wrong."""

    class Built(flask_mail.Message):
        def as_bytes(self) -> bytes:
            if isinstance(content, Exception):
                raise content
            made: bytes = content
            return made

    with pytest.raises(MessageError, match=words):
        composed_of(of(Built))


def test_they_have_a_limit_too() -> None:
    """As every message."""
    with pytest.raises(MessageTooLargeError):
        composed_of(RawMessage(WHOLE), max_bytes=50)


def test_prebuilt_bytes_go_out_as_they_are() -> None:
    """To the byte; who gets it and from whom is read from them."""
    message = RawMessage(WHOLE)
    assert message.subject == "Grüße"
    composed = composed_of(message)
    assert composed.wire() == WHOLE
    assert composed.recipients == ("ann@example.org",)
    assert composed.envelope_from == "shop@example.com"
    assert composed.message_id == "<1@example.com>"
    assert (composed.subject, composed.dated) == ("Grüße", True)
    assert composed.headers[0] == ("From", "Shop <shop@example.com>")
    others = composed_of(RawMessage(WHOLE, recipients=["list@example.org"]), envelope_from="bounce@example.com")
    assert (others.recipients, others.envelope_from) == (("list@example.org",), "bounce@example.com")


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_what_is_missing_is_put_before_the_rest(line_end: bytes) -> None:
    """Date and Message-ID; lines that all end in LF get CRLF, and so does the last one."""
    given = (HEAD + b"\r\nHello").replace(b"\r\n", line_end)
    wire = composed_of(RawMessage(given)).wire()
    assert wire.endswith(HEAD + b"\r\nHello\r\n")
    assert wire.count(b"\r\n") == wire.count(b"\n")
    parsed = message_from_bytes(wire, policy=policy)
    assert parsed["Message-ID"] == f"<{UNIQUE}@example.com>"
    assert parsed["Date"].datetime.year == 2026


@pytest.mark.parametrize("made", [EmailMessage(), EmailMessage(policy=SMTP), email.message.Message(policy=compat32)])
def test_a_message_object_is_taken_as_smtplib_takes_it(made: Any) -> None:
    """Bcc goes into the envelope alone; the object stays what it is."""
    made["From"], made["To"], made["Bcc"] = "shop@example.com", "ann@example.org", "secret@example.org"
    made["Subject"] = "Hello"
    if isinstance(made, EmailMessage):
        made.set_content("Grüße\n" * 3)
    else:
        made.set_payload("Grüße\n" * 3, "utf-8")
    composed = composed_of(RawMessage(made))
    assert composed.recipients == ("ann@example.org", "secret@example.org")
    assert b"secret" not in composed.wire()
    assert made["Bcc"] == "secret@example.org"
    body: Any = read(composed)
    assert body.get_content().split() == ["Grüße"] * 3


def test_content_beyond_ascii_asks_for_the_extensions() -> None:
    """8-bit text for 8BITMIME, a header in UTF-8 for SMTPUTF8."""
    eight = composed_of(RawMessage(WHOLE + "ä\r\n".encode()))
    assert (eight.mail_options, eight.smtputf8) == (("BODY=8BITMIME",), False)
    header = composed_of(RawMessage("X-Name: Jörg\r\n".encode() + WHOLE))
    assert header.smtputf8
    assert header.headers[0] == ("X-Name", "Jörg")
    assert composed_of(RawMessage(WHOLE)).mail_options == ()


def test_somebody_must_get_it() -> None:
    """And somebody must have written it."""
    with pytest.raises(MissingFieldError):
        composed_of(RawMessage(b"From: shop@example.com\r\nSubject: x\r\n\r\nb\r\n"))


def test_a_signer_gets_the_body_as_it_is_sent() -> None:
    """With its Content-… lines, CRLF and 7-bit, attachments among it; the header stays ours."""
    got: list[bytes] = []

    def signer(entity: bytes) -> bytes:
        got.append(entity)
        return (
            b'Content-Type: multipart/signed; boundary="x"\r\n\r\n--x\r\n' + entity + b"\r\n--x\r\n\r\nS\r\n--x--\r\n"
        )

    message = Message("Grüße", ["ann@example.org"], "Hellö", "<p>x</p>", sender="shop@example.com")
    message.attach("a.pdf", "application/pdf", b"%PDF" * 5000)
    message.signer = signer
    composed = composed_of(message)
    assert composed.blobs == ()
    parsed: Any = read(composed)
    assert (parsed["Subject"], parsed["Auto-Submitted"]) == ("Grüße", "auto-generated")
    assert parsed.get_all("MIME-Version") == ["1.0"]
    assert parsed.get_content_type() == "multipart/signed"
    signed, _ = parsed.iter_parts()
    assert [part.get_content_type() for part in signed.walk() if not part.is_multipart()] == [
        "text/plain",
        "text/html",
        "application/pdf",
    ]
    assert got[0].isascii()
    assert got[0].startswith(b"Content-Type: multipart/mixed;")
    assert got[0] in composed.wire()
    message.signer = None
    assert got[0].partition(b"\r\n\r\n")[2] == composed_of(message).wire().partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "returned",
    [
        "text",
        None,
        b"",
        b"no entity",
        b"From: eve@example.net\r\nContent-Type: text/plain\r\n\r\nb\r\n",
        b"Content-Type: text/plain\r\n\r\n\xff\r\n",
        b"Content-Type: text/plain\r\n\r\na\rb\r\n",
        b"Content-Type: text/plain\r\n\r\n" + b"x" * 999,
        b"Content-Transfer-Encoding: 7bit\r\n\r\nb\r\n",
        b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nb\r\n",
        RuntimeError("no key"),
    ],
)
def test_what_a_signer_returns_is_checked(returned: Any) -> None:
    """No field of the header, nothing that a relay would change."""

    def signer(entity: bytes) -> bytes:
        if isinstance(returned, Exception):
            raise returned
        made: bytes = returned
        return made

    message = Message("s", ["ann@example.org"], "b", sender="shop@example.com")
    message.signer = signer
    with pytest.raises(MessageError) as caught:
        composed_of(message)
    assert caught.value.field in {"signer", "message"}
    assert not isinstance(caught.value, MissingFieldError)
    assert isinstance(caught.value, MessageError | BadHeaderError)


REST = b"From: shop@example.com\r\nTo: ann@example.org\r\n"


@pytest.mark.parametrize(
    "value",
    [
        "Bob <bob@x.org>,",
        "b@x.org; c@x.org",
        "b@x.org (Bob, sales)",
        "Team: b@x.org, c@x.org;",
        "b@x.org,, c@x.org",
        "Bob, b@x.org",
        "b@x.org c@x.org",
        "root",
        "=?utf-8?q?b=40x=2Eorg?=",
    ],
)
@pytest.mark.parametrize("field", ["Cc", "From", "Bcc"])
def test_an_address_field_is_read_whole_or_refused(field: str, value: str) -> None:
    """A recipient is neither lost nor invented; who says by himself who gets it may write To and Cc as he likes."""
    if field == "Bcc":
        made = email.message_from_bytes(REST + f"Bcc: {value}\r\n\r\nb\r\n".encode())
        with pytest.raises(MessageError, match=r"^Bcc: "):
            RawMessage(made)
        assert composed_of(RawMessage(made, ["ann@example.org"])).recipients == ("ann@example.org",)
        return
    given = f"{field}: {value}\r\n".encode() + REST.removeprefix(b"From: shop@example.com\r\n" * (field == "From"))
    with pytest.raises(MessageError, match=f"^{field}: "):
        RawMessage(given + b"\r\nb\r\n")
    if field == "Cc":
        composed = composed_of(RawMessage(given + b"\r\nb\r\n", ["ann@example.org"]))
        assert composed.recipients == ("ann@example.org",)
        assert ("Cc", value) in composed.headers


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("Cc: Bob @ Work <bob@x.org>", ["bob@x.org"]),
        ("Cc: Bob <bob@x.org>,\r\n\tCarl <c@x.org>", ["bob@x.org", "c@x.org"]),
        ("Cc: =?utf-8?q?boss=40x=2Eorg=2C?= <bob@x.org>", ["bob@x.org"]),
        ('Cc: "boss@x.org, " <bob@x.org>', ["bob@x.org"]),
        ("Cc : bob@x.org", ["bob@x.org"]),
        ("Cc: Jörg <jörg@x.org>", ["jörg@x.org"]),
        ("Cc: undisclosed-recipients:;", []),
        ("Cc:", []),
    ],
)
def test_those_in_an_address_field_get_it(field: str, found: list[str]) -> None:
    """Encoded words are a name, whatever they hold."""
    composed = composed_of(RawMessage(REST + f"{field}\r\n\r\nb\r\n".encode()))
    assert composed.recipients == ("ann@example.org", *found)
    assert [address for name, address in composed.addresses if name == "cc"] == found


@pytest.mark.parametrize(
    ("author", "address", "shown"),
    [
        ("=?utf-8?q?J=C3=B6rg_=22X?= <me@x.org>", "me@x.org", '"Jörg \\"X" <me@x.org>'),
        ("=?utf-8?q?boss=40x=2Eorg=2C?= <evil@y.org>", "evil@y.org", '"boss@x.org," <evil@y.org>'),
    ],
)
def test_the_author_is_read_before_anything_is_decoded(author: str, address: str, shown: str) -> None:
    """A quotation mark or an address in an encoded name is part of the name."""
    content = f"From: {author}\r\nTo: ann@example.org\r\n\r\nb\r\n".encode()
    composed = composed_of(RawMessage(content))
    assert composed.envelope_from == address
    assert dict(composed.headers)["From"] == shown
    assert [found for name, found in composed.addresses if name == "from"] == [address]
    with pytest.raises(MessageError, match=r"boss@x\.org"):
        composed_of(RawMessage(content, sender="boss@x.org"))


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_of_each_kind_are_taken(kind: Any) -> None:
    """And text is refused, since nobody can tell its encoding."""
    assert composed_of(RawMessage(kind(WHOLE))).wire() == WHOLE
    for wrong in ("text", None, 1):
        with pytest.raises(MessageError, match=r"^content: is "):
            RawMessage(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [EmailMessage(), email.message.Message(policy=compat32)])
def test_bcc_of_an_object_may_be_beyond_ascii(made: Any) -> None:
    """Names and addresses, as they were set; and once more from the bytes of a file."""
    made["From"], made["To"] = "shop@example.com", "ann@example.org"
    made["Bcc"] = '"Jörg, X" <jörg@example.net>, carl@example.org'
    made.set_payload("b")
    assert composed_of(RawMessage(made)).recipients == ("ann@example.org", "jörg@example.net", "carl@example.org")
    more = 'Bcc: "Jörg, X" <jörg@example.net>,\r\n =?utf-8?q?a=40x=2Eorg=2C?= <c@x.org>\r\n'
    saved = REST + more.encode() + b"\r\nb\r\n"
    for parsed in (message_from_bytes(saved), message_from_bytes(saved, policy=policy)):
        assert composed_of(RawMessage(parsed)).recipients == ("ann@example.org", "jörg@example.net", "c@x.org")


@pytest.mark.parametrize(
    ("date", "is_one"),
    [
        ("never", False),
        ("", False),
        ("Mon, 22 Nov 2026 10:00:00 +0000", False),
        ("Sun, 22 Nov 2026 10:00:00 -0000 (UTC)", True),
        ("22 Nov 2026\r\n 10:00 GMT", True),
    ],
)
def test_a_date_in_the_bytes_is_one(date: str, is_one: bool) -> None:
    """It goes out as it is, so it must be right."""
    message = RawMessage(f"Date: {date}\r\n".encode() + HEAD + b"\r\nb\r\n")
    if is_one:
        assert f"Date: {date}\r\n".encode() in composed_of(message).wire()
    else:
        with pytest.raises(MessageError, match=r"^Date: "):
            composed_of(message)


@pytest.mark.parametrize("line", ["MIME-Version:\r\n 1.0", "MIME-Version : 1.0", "mime-version:1.0"])
def test_what_a_signer_returns_has_one_version(line: str) -> None:
    """However it writes its own."""
    message = Message("s", ["ann@example.org"], "b", sender="shop@example.com")
    message.signer = lambda _: f"{line}\r\nContent-Type: text/plain;\r\n charset=us-ascii\r\n\r\nb\r\n".encode()
    wire = composed_of(message).wire()
    assert wire.lower().count(b"mime-version") == 1
    assert wire.endswith(b"MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n charset=us-ascii\r\n\r\nb\r\n")


ANSWERED = b"In-Reply-To: <2@x.org>\r\n"


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        (lambda: RawMessage(WHOLE), "in_reply_to"),
        (lambda: RawMessage(ANSWERED + WHOLE), "references"),
        (lambda: RawMessage(ANSWERED + b"References: <1@x.org>\r\n <2@x.org>\r\n" + WHOLE), None),
        (lambda: of(Signed), None),
        (lambda: of(Signed, extra_headers=[("X-A", "a")]), None),
        (lambda: of(flask_mail.Message, extra_headers=[("X-A", "a"), ("X-A", "b")]), None),
        (lambda: of(flask_mail.Message, extra_headers=iter([("in-reply-to", "<0@x.org>")])), None),
    ],
)
def test_a_thread_is_not_lost(message: Any, lost: str | None) -> None:
    """Where extra_headers are pairs, or the bytes are there already: in the header, or refused with the remedy."""
    settings = Settings(headers=(("X-Mailer", "shop"),), reply_to="help@example.com")
    made = with_adds(message(), settings, {"in_reply_to": "2@x.org", "references": "<1@x.org>"})
    if lost is not None:
        with pytest.raises(MessageError, match=rf"^{lost}: .* Write "):
            composed_of(made)
        return
    parsed = read(composed_of(made))
    assert (parsed["In-Reply-To"], parsed["References"]) == ("<2@x.org>", "<1@x.org> <2@x.org>")
    if not isinstance(made, RawMessage):
        assert (parsed["X-Mailer"], parsed["Reply-To"]) == ("shop", "help@example.com")
        own = message().extra_headers
        if isinstance(own, list):
            assert parsed.get_all("X-A") == [value for _, value in own]
