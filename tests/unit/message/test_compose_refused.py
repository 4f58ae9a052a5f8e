"""What is not accepted is refused with an error of ours that names the field."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage

import flask_mail
import pytest

from outbox.core.errors import AddressError, BadHeaderError, MessageError
from tests.unit.message.composing import NOW, assert_refused, composed_of, message_of, read, unsigned

BREAKS = ["\n", "\r", "\r\n", "\0", "\ud800"]
STRICT = [*BREAKS, "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


class Unlucky:
    """A lazy string that cannot be made a string now."""

    def __str__(self) -> str:
        raise RuntimeError("no request")


@pytest.mark.parametrize(
    "subject", ["a\nb", "a\r\nb", "a\r b", "\r\n a", " \r\n a", "a\r\n", "a\r\n \r\n b", "a\r\n\r\n b"]
)
def test_a_subject_with_other_line_breaks_is_refused(subject: str) -> None:
    """Where Flask-Mail says so too."""
    assert message_of(subject).has_bad_headers()
    assert_refused(BadHeaderError, "subject", subject=subject)


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-unsubscribe", "X-SMTPAPI", "References"])
def test_an_error_names_the_header_as_the_caller_did(name: str) -> None:
    """Not as the wire has it: the caller looks for what it wrote."""
    value = "<https://example.org/" + "a" * 1200 + ">"
    assert_refused(MessageError, f"extra_headers[{name!r}]", extra_headers={name: value})


@pytest.mark.parametrize("character", BREAKS)
def test_line_breaks_are_refused_wherever_a_header_could_be_made_of_them(character: str) -> None:
    """Subject, names, extra headers and what people read of attachments."""
    bad = f"a{character}X: y"
    assert_refused(BadHeaderError, "subject", subject=bad)
    assert_refused(BadHeaderError, "recipients[1]", recipients=["a@b.c", (bad, "a@b.c")])
    assert_refused(BadHeaderError, "cc[0]", cc=[bad])
    assert_refused(BadHeaderError, "bcc[0]", bcc=[bad])
    assert_refused(BadHeaderError, "sender", sender=(bad, "a@b.c"))
    assert_refused(BadHeaderError, "reply_to", reply_to=bad)
    assert_refused(BadHeaderError, "extra_headers['X-A']", extra_headers={"X-A": bad})
    for arguments, field in (
        ((bad, "a/b", b""), "filename"),
        (("a", "a/b", b"", "inline", {"X-A": bad}), "headers['X-A']"),
    ):
        attachments = [flask_mail.Attachment(*arguments)]
        assert_refused(BadHeaderError, f"attachments[0].{field}", attachments=attachments)


@pytest.mark.parametrize("character", STRICT)
def test_what_programs_read_holds_no_control_characters(character: str) -> None:
    """Addresses, header names, fields that programs read, alternatives, types and dispositions."""
    bad = f"a{character}X: y"
    assert_refused(BadHeaderError, "recipients[0]", recipients=[f"{bad}@example.org"])
    assert_refused(BadHeaderError, "extra_headers", extra_headers={bad: "x"})
    for name in ("Message-ID", "Date", "List-Unsubscribe", "Auto-Submitted", "X-SMTPAPI", "X-PM-Tag"):
        assert_refused(BadHeaderError, f"extra_headers['{name}']", extra_headers={name: bad})
    assert_refused(BadHeaderError, "alts", alts={bad: "x"})
    for arguments, field in (
        (("a", bad, b""), "content_type"),
        (("a", "a/b; c=" + bad, b""), "content_type"),
        (("a", "a/b", b"", bad), "disposition"),
        (("a", "a/b", b"", "inline", {bad: "x"}), "headers"),
        (("a", "a/b", b"", "inline", {"Content-ID": bad}), "headers['Content-ID']"),
    ):
        attachments = [flask_mail.Attachment(*arguments)]
        assert_refused(BadHeaderError, f"attachments[0].{field}", attachments=attachments)


@pytest.mark.parametrize("fold", ["\r\n ", "\n\t", "\r\n \r\n "])
def test_a_fold_makes_no_header(fold: str) -> None:
    """A proper one is taken out of extra headers, any other is refused, and in a name each is."""
    assert_refused(BadHeaderError, "recipients[0]", recipients=[(f"a{fold}X: y", "a@b.c")])
    message = message_of(extra_headers={"X-A": f"a{fold}X: y", "References": f"<a@b>{fold}<c@d>"})
    if fold.count("\n") > 1:
        with pytest.raises(BadHeaderError):
            composed_of(message)
    else:
        parsed = read(composed_of(message))
        assert "X" not in parsed
        assert parsed["X-A"] == f"a{fold[-1]}X: y"
        assert parsed["References"] == f"<a@b>{fold[-1]}<c@d>"


def test_errors_are_those_of_flask_mail_too() -> None:
    """Code written for Flask-Mail catches them unchanged."""
    with pytest.raises(flask_mail.BadHeaderError):
        composed_of(message_of("a\nb"))
    with pytest.raises(AssertionError, match="recipients"):
        composed_of(message_of(recipients=[]))
    with pytest.raises(AssertionError, match="MAIL_DEFAULT_SENDER"):
        composed_of(unsigned())


@pytest.mark.parametrize(
    "name", ["From", "to", "CC", "Bcc", "subject", "MIME-Version", "Content-Type", "content-id", "Resent-Bcc"]
)
def test_a_header_that_would_stand_twice_is_refused(name: str) -> None:
    """What the message has a field for, and what MIME needs."""
    assert_refused(MessageError, f"extra_headers['{name}']", extra_headers={name: "a@b.c"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Message-ID", "own@example.org"),
        ("Message-ID", "<own>"),
        ("Message-ID", "<a b@example.org>"),
        ("Date", "tomorrow"),
        ("Reply-To", "nobody"),
        ("Sender", "a@b.c, d@e.f"),
        ("List-Unsubscribe", "<https://exämple.org/>"),
        ("List-Unsubscribe", "<https://example.org/" + "x" * 1000 + ">"),
        ("X A", "b"),
        ("X-A", 5),
    ],
)
def test_an_extra_header_that_is_malformed_is_refused(name: str, value: object) -> None:
    """With an error that names it."""
    with pytest.raises(MessageError, match=r"extra_headers|List-Unsubscribe"):
        composed_of(message_of(extra_headers={name: value}))


def test_the_same_header_in_other_letters_is_refused() -> None:
    """A dictionary can hold both; a message must not."""
    headers = {"Message-ID": "<a@b.c>", "message-id": "<c@b.c>"}
    assert_refused(MessageError, "extra_headers['message-id']", extra_headers=headers)


@pytest.mark.parametrize("recipients", ["ann@example.org", b"ann@example.org", {"ann@example.org": 1}, 5, object()])
def test_recipients_that_are_no_list_are_refused(recipients: object) -> None:
    """A string would be taken letter by letter."""
    error = assert_refused(MessageError, "recipients", recipients=recipients)
    assert "recipients=[…]" in str(error)


def test_none_among_the_recipients_is_named() -> None:
    """A user without an address is a frequent slip."""
    assert_refused(AddressError, "recipients[1]", recipients=["a@b.c", None])
    assert_refused(AddressError, "recipients[0]", recipients=["a@b.c, d@e.f"])


@pytest.mark.parametrize("date", [float("nan"), float("inf"), 1e20, -1e11, -3e9, "2026-11-22", NOW, True])
def test_a_date_that_is_none_is_refused(date: object) -> None:
    """And says what to give."""
    assert_refused(MessageError, "date", date=date)


@pytest.mark.parametrize(
    ("attribute", "value", "field"),
    [
        ("data", None, "attachments[0].data"),
        ("data", 5, "attachments[0].data"),
        ("data", "\ud800", "attachments[0].data"),
        ("filename", 5, "attachments[0].filename"),
        ("filename", "a" * 1001, "attachments[0].filename"),
        ("content_type", None, "attachments[0].content_type"),
        ("content_type", "pdf", "attachments[0].content_type"),
        ("content_type", "a/b; c", "attachments[0].content_type"),
        ("disposition", "a; b", "attachments[0].disposition"),
        ("headers", 5, "attachments[0].headers"),
        ("headers", {"Content-Type": "a/b"}, "attachments[0].headers['Content-Type']"),
        ("headers", {"Content-ID": "a b"}, "attachments[0].headers['Content-ID']"),
    ],
)
def test_an_attachment_that_cannot_be_sent_is_refused(attribute: str, value: object, field: str) -> None:
    """With its number and the attribute."""
    attachment = flask_mail.Attachment("a", "a/b", b"")
    setattr(attachment, attribute, value)
    assert_refused(MessageError, field, attachments=[attachment])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", 5),
        ("subject", ["a"]),
        ("subject", Unlucky()),
        ("subject", "a" * 999),
        ("body", 5),
        ("body", Unlucky()),
        ("body", "\udcff"),
        ("html", "\ud800"),
        ("alts", 5),
        ("alts", {"html": 5}),
        ("alts", {"a b": "x"}),
        ("charset", "no-such"),
        ("charset", "a\0b"),
        ("charset", "utf-8\n"),
        ("charset", 5),
        ("extra_headers", 5),
        ("attachments", 5),
        ("attachments", [5]),
        ("sender", 5),
        ("sender", ("a",)),
        ("reply_to", ["a"]),
        ("cc", Unlucky()),
    ],
)
def test_wrong_types_and_values_are_named(field: str, value: object) -> None:
    """Nothing but our own errors comes out, whatever is put in."""
    message = message_of()
    setattr(message, field, value)
    with pytest.raises(MessageError) as caught:
        composed_of(message)
    assert caught.value.field.startswith("alts" if field == "html" else field)


def test_what_is_no_message_is_refused() -> None:
    """Also with an error of ours."""
    with pytest.raises(MessageError, match=r"flask_mail\.Message"):
        composed_of(EmailMessage())  # type: ignore[arg-type]
    with pytest.raises(MessageError, match="aware"):
        composed_of(message_of(), now=datetime(2026, 11, 22))  # noqa: DTZ001
