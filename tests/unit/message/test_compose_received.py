"""Answers to received mail: what Python's parsers give of its fields can be put into an answer as it is."""

from __future__ import annotations

from email import message_from_bytes
from email import policy as policies
from email.header import decode_header, make_header
from email.utils import parseaddr
from typing import Any

import flask_mail
import pytest

from outbox.core.errors import MessageError
from outbox.message.received import decoded
from tests.unit.message.composing import UNIQUE, assert_refused, composed_of, message_of, read

RECEIVED = (
    b"From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@example.net>\r\n"
    b"Message-ID:\r\n <" + b"m" * 80 + b"@example.net>\r\n"
    b"References: <" + b"a" * 60 + b"@example.net>\r\n\t<" + b"b" * 60 + b"@example.net>\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_und_Fragen_zu_unserer_Bestell?=\r\n =?utf-8?q?ung_vom_M=C3=A4rz?=\r\n"
    b"\r\nHallo\r\n"
)
POLICIES = [policies.compat32, policies.default, policies.SMTP]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", [None, str])
def test_an_answer_refers_to_what_it_answers(policy: Any, kind: type | None) -> None:
    """Ids that were folded, a subject and a name in encoded words, fields that the received message has not."""
    received: Any = message_from_bytes(RECEIVED, policy=policy)
    value = kind or (lambda found: found)
    message = message_of(
        "Re: " + received["Subject"],
        [parseaddr(value(received["From"]))],
        extra_headers={
            "In-Reply-To": value(received["Message-ID"]),
            "References": f"{received['References']} {received['Message-ID']}",
            "List-Id": received["List-Id"],
            "Reply-To": received["Reply-To"],
            "Thread-Topic": received["Subject"],
        },
    )
    composed = composed_of(message)
    answer = read(composed)
    ids = [f"<{letter * count}@example.net>" for letter, count in (("a", 60), ("b", 60), ("m", 80))]
    assert answer["References"].split() == ids
    assert answer["In-Reply-To"].strip() == ids[2]
    subject = "Grüße und Fragen zu unserer Bestellung vom März"
    assert answer["Subject"] == composed.subject == f"Re: {subject}"
    assert answer["Thread-Topic"] == subject
    assert answer["To"].addresses[0].display_name.split() == ["Jörg", "Müller"]
    assert {"List-Id", "Reply-To"}.isdisjoint(answer)
    assert max(map(len, composed.wire().split(b"\r\n"))) < 120


@pytest.mark.parametrize("empty", [None, "", "  ", "\r\n "])
def test_structured_fields_that_are_empty_are_left_out(empty: str | None) -> None:
    """As are those of a received message that has none."""
    names = ("In-Reply-To", "References", "Message-ID", "List-Unsubscribe", "Reply-To", "Sender", "X-PM-Tag", "Date")
    parsed = read(composed_of(message_of(extra_headers=dict.fromkeys(names, empty))))
    assert set(names) & set(parsed) == {"Message-ID", "Date"}
    assert parsed["Message-ID"] == f"<{UNIQUE}@example.com>"


@pytest.mark.parametrize(
    "text",
    [
        "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
        "Re: =?iso-8859-1?Q?Gr=FC=DFe?= again",
        "=?utf-8?b?8J+Y?= =?utf-8?b?gA==?=",  # one character in two words, against RFC 2047 §5
        "=?utf-8?q?a?=   =?utf-8?q?b?=",
        "=?utf-8?q?a?= b =?utf-8?q?c?=",
        "=?gb2312?B?xOO6ww==?=",
        "=?utf-8*de?q?Gr=C3=BC=C3=9Fe?=",  # RFC 2231 §5
        "=?utf-8?b?YQ?=",
        "no words",
    ],
)
def test_encoded_words_are_decoded_as_the_standard_library_does(text: str) -> None:
    """Or better: a language tag, and characters that a mailer has cut."""
    wanted = {"=?utf-8*de?q?Gr=C3=BC=C3=9Fe?=": "Grüße", "=?utf-8?b?8J+Y?= =?utf-8?b?gA==?=": "😀"}
    assert decoded(text) == wanted.get(text) or decoded(text) == str(make_header(decode_header(text)))


@pytest.mark.parametrize("text", ["=?klingon?q?a?=", "=?utf-8?q?a", "=?utf-8?x?a?=", "=?hex?q?61?=", "=?utf-8?b?é?="])
def test_what_can_not_be_decoded_stays(text: str) -> None:
    """And comes back to the character."""
    assert decoded(text) == text
    assert composed_of(message_of(text)).subject == text
    assert str(make_header(decode_header(_raw_subject(text)))) == text


def test_a_hidden_line_break_makes_no_header() -> None:
    """One within an encoded word becomes a space."""
    composed = composed_of(message_of("Re: =?utf-8?q?a=0D=0ABcc:_evil=40example.org?="))
    assert composed.subject == "Re: a Bcc: evil@example.org"
    assert "Bcc" not in read(composed)


def _raw_subject(text: str) -> str:
    found: str = message_from_bytes(composed_of(message_of(text)).wire())["Subject"]
    return found


@pytest.mark.parametrize(
    "given", ["<ticket-17@example.org>", " <ticket-17@example.org>", "<179571232299.15975.1672@x.test>"]
)
def test_a_message_id_that_the_application_sets_is_kept(given: str) -> None:
    """`msgId` is what Flask-Mail sends."""
    message = message_of()
    message.msgId = given
    assert composed_of(message).message_id == read(composed_of(message))["Message-ID"] == given.strip()


def test_flask_mails_own_message_id_is_replaced() -> None:
    """It names this machine; ours ends in the domain of From."""
    message = message_of()
    assert flask_mail.Message is type(message)
    assert composed_of(message).message_id == f"<{UNIQUE}@example.com>"
    for empty in (None, ""):
        message.msgId = empty  # type: ignore[assignment]
        assert composed_of(message).message_id == f"<{UNIQUE}@example.com>"


def test_extra_headers_go_over_message_ids() -> None:
    """One Message-ID, where Flask-Mail sends two."""
    message = message_of(extra_headers={"Message-ID": "<two@example.org>"})
    message.msgId = "<one@example.org>"
    assert read(composed_of(message)).get_all("Message-ID") == ["<two@example.org>"]


@pytest.mark.parametrize("given", ["ticket-17", "<a@b.c>\r\nBcc: evil@example.org", "<a b@c>", 17, "<ü@example.org>"])
def test_what_can_not_be_a_message_id_is_refused(given: Any) -> None:
    """With the field as the application named it."""
    message = message_of()
    message.msgId = given
    with pytest.raises(MessageError) as caught:
        composed_of(message)
    assert caught.value.field == "msgId"
    assert_refused(MessageError, "extra_headers['Message-ID']", extra_headers={"Message-ID": "<a b@c>"})
