"""One address with a non-ASCII local part: the form that recipients with ASCII addresses get (RFC 6857)."""

from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default as policy
from email.utils import getaddresses
from typing import Any

import pytest

from outbox.message.downgrade import forms
from tests.unit.message.composing import composed_of, message_of, text_of

LOGO = b"\x89PNG" * 5000
ODD = ("Jörg, der Erste", "jörg@faß.de")
SHOWN = "Jörg, der Erste jörg@xn--fa-hia.de"


def parsed(wire: bytes) -> EmailMessage:
    return message_from_bytes(wire, EmailMessage, policy=policy)


@pytest.mark.parametrize(
    ("field", "name"),
    [("recipients", "To"), ("cc", "Cc"), ("reply_to", "Reply-To"), ("extra", "Resent-Cc")],
)
@pytest.mark.parametrize("ascii_too", [True, False])
def test_it_becomes_a_group_that_shows_it(field: str, name: str, ascii_too: bool) -> None:
    """In ASCII whatever the relay offers; the others stay addresses; two readers of the standard library agree."""
    people: list[Any] = [("Ann", "ann@example.org"), ODD, "bob@example.org"] if ascii_too else [ODD]
    given: dict[str, Any] = {field: people}
    if field == "extra":
        given = {"extra_headers": {name: ", ".join(f'"{one[0]}" <{one[1]}>' for one in people if type(one) is tuple)}}
    composed = composed_of(message_of(body="ä", **given))
    assert not composed.smtputf8
    wire = composed.wire()
    assert wire.isascii()
    assert max(map(len, wire.split(b"\r\n"))) <= 78
    groups = parsed(wire)[name].groups
    assert [" ".join(group.display_name.split()) for group in groups if not group.addresses] == [SHOWN]
    raw = message_from_bytes(wire)[name]
    assert str(make_header(decode_header(raw.replace("\n", "")))).count(SHOWN) == 1
    addresses = [address for _, address in getaddresses([raw]) if address]
    if not ascii_too:
        assert addresses == []
    elif field != "extra":
        assert addresses == ["ann@example.org", "bob@example.org"]


def test_the_other_form_is_for_those_whose_address_is_not_ascii() -> None:
    """Both differ in their headers only, and big parts are where they belong in both."""
    message = message_of("ä", ["ann@example.org", ODD], "body", "<p>html</p>", reply_to="ünal@example.net")
    message.attach("logo.png", "image/png", LOGO)
    composed = composed_of(message)
    assert [blob.data for _, blob in composed.blobs] == [LOGO]
    lower, upper = composed.wire("ann@example.org"), composed.wire("jörg@xn--fa-hia.de")
    assert composed.wire() == lower
    assert lower.isascii()
    assert "<jörg@xn--fa-hia.de>".encode() in upper
    assert "Reply-To: ünal@example.net\r\n".encode() in upper
    assert lower.partition(b"\r\n\r\n")[2] == upper.partition(b"\r\n\r\n")[2]
    assert composed.utf8 is not None
    assert (len(lower), len(upper)) == (composed.size, composed.size + composed.utf8.longer)
    for wire in (lower, upper):
        read = parsed(wire)
        assert text_of(read, "html").strip() == "<p>html</p>"
        assert [part.get_content() for part in read.iter_attachments()] == [LOGO]
        assert read["Subject"] == "ä"
    assert dict(composed.headers)["To"].endswith("<jörg@xn--fa-hia.de>")


def test_there_is_one_form_where_nobody_needs_the_other() -> None:
    """All recipients are ASCII; or no header is affected; or the author's own address needs SMTPUTF8 for all."""
    assert composed_of(message_of(reply_to="jörg@example.net")).utf8 is None
    assert composed_of(message_of(bcc=["jörg@example.net"])).utf8 is None
    assert composed_of(message_of(recipients=[ODD], sender="ö@example.net")).utf8 is None
    assert composed_of(message_of(recipients=[ODD], extra_headers={"Sender": "ö@example.net"})).smtputf8


@pytest.mark.parametrize("count", [1, 40])
def test_long_names_and_many_are_folded(count: int) -> None:
    """Within encoded words and between addresses."""
    people: list[Any] = [("Ö" * 200, f"ö{number}@example.net") for number in range(count)]
    composed = composed_of(message_of(recipients=people))
    wire = composed.wire()
    assert max(map(len, wire.split(b"\r\n"))) <= 78
    assert len(parsed(wire)["To"].groups) == count
    assert parsed(wire)["To"].addresses == ()


@pytest.mark.parametrize(
    ("head", "lower"),
    [
        ("Subject: Grüße an Jörg\r\nTo: ann@example.org", None),
        ("X-Name: Jörg\r\nTo: Jörg <jörg@example.org>", None),
        ("To: ann@example.org\r\nReply-To: Jörg: a@example.org;", None),
        ("To: Grüße:;", None),
        ("To : Jörg <a@example.org>,\r\n\tb@example.org", "To: =?utf-8?b?SsO2cmc=?= <a@example.org>, b@example.org"),
    ],
)
def test_bytes_of_the_applications_own_are_downgraded_or_stay(head: str, lower: str | None) -> None:
    """Address fields only; where anything else is in UTF-8 the message needs SMTPUTF8, as it did when it was built."""
    whole = f"{head}\r\n\r\nb\r\n".encode()
    expected = (whole, None, True) if lower is None else (f"{lower}\r\n\r\nb\r\n".encode(), None, False)
    assert forms(whole, ["ann@example.org"]) == expected
