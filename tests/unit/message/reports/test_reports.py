"""What comes back as mail, and what is understood of it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from outbox.delivery.reply import Reply
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.message.bounce_address import BounceAddresses
from outbox.message.reports import UnreadableError, events
from tests.unit.message.reports.mails import (
    ADDRESSES,
    COMPLAINT,
    INTERNATIONAL,
    QMAIL,
    TO,
    TOKEN,
    TWO_FAILED,
    VACATION,
)


def read(text: str, **more: str) -> list[ReportedEvent]:
    return events(text.encode(), ADDRESSES, **more)


def read_one(text: str, **more: str) -> ReportedEvent:
    (one,) = read(text, **more)
    return one


def changed(token: str = TOKEN) -> str:
    return ("0" if token[0] != "0" else "1") + token[1:]


def test_a_report_about_several_recipients_is_one_event_for_each() -> None:
    """With the address that we wrote to (ORCPT), the server's words, and the time of the attempt."""
    ann, bob = read(TWO_FAILED)
    assert (ann.type, ann.recipient, ann.message_pk, ann.proven) == (EventType.BOUNCED, "Ann@example.com", 7, True)
    assert ann.reply == Reply(550, "5.1.1", "<ann@elsewhere.example>: Recipient address rejected: User unknown")
    assert ann.at == datetime(2026, 11, 27, 9, 4, 59, tzinfo=UTC)
    assert ann.message_id == "<1.2@app.example.org>"
    assert (bob.type, bob.recipient, bob.message_pk) == (EventType.DEFERRED, "bob@example.com", 7)
    assert bob.reply == Reply(452, "4.2.2", "mailbox full")
    assert bob.at == datetime(2026, 11, 27, 9, 5, tzinfo=UTC)  # the report's own


def test_the_same_report_has_the_same_ids_however_often_it_comes() -> None:
    """The way on which it came a second time may have added fields."""
    again = "Delivered-To: someone@example.org\nReceived: from elsewhere\n" + TWO_FAILED
    assert [one.event_id for one in read(TWO_FAILED)] == [one.event_id for one in read(again)]
    assert len({one.event_id for one in read(TWO_FAILED)}) == 2
    another = TWO_FAILED.replace("20261127090500", "20261127090501")
    assert {one.event_id for one in read(another)}.isdisjoint(one.event_id for one in read(TWO_FAILED))


def test_what_a_stranger_sends_ahead_does_not_stand_for_the_real_report() -> None:
    """With the same Message-ID, but without the token: another event."""
    forged = TWO_FAILED.replace(TOKEN, changed())
    assert {one.event_id for one in read(forged)}.isdisjoint(one.event_id for one in read(TWO_FAILED))


@pytest.mark.parametrize(
    ("action", "status", "type", "category"),
    [
        ("failed", "5.1.1", EventType.BOUNCED, None),
        ("failed", "4.4.7", EventType.BOUNCED, None),
        ("Delayed (still trying)", "4.4.1", EventType.DEFERRED, None),
        ("delivered", "2.0.0", EventType.DELIVERED, None),
        ("relayed", "2.1.9", EventType.DELIVERED, "relayed"),
        ("expanded", "2.1.5", EventType.DELIVERED, "expanded"),
        ("", "5.2.1", EventType.BOUNCED, None),
        ("", "", EventType.UNKNOWN, None),
        ("exploded", "9.9.9", EventType.UNKNOWN, None),
    ],
)
def test_actions(action: str, status: str, type: EventType, category: str | None) -> None:
    """RFC 3464 §2.3.3; where the action is missing, the class of the status."""
    text = TWO_FAILED.replace("Action: failed\nStatus: 5.1.1", f"Action: {action}\nStatus: {status}")
    assert (read(text)[0].type, read(text)[0].category) == (type, category)


@pytest.mark.parametrize(
    ("status", "diagnostic", "reply"),
    [
        ("5.0.0", "smtp; 550 5.1.1 no such user", Reply(550, "5.1.1", "no such user")),  # Exim
        ("5.0.0", "smtp; 550-5.1.1 a\n  550 5.1.1 b", Reply(550, "5.1.1", "a 550 5.1.1 b")),
        ("5.7.1", "smtp; 550 5.1.1 no such user", Reply(550, "5.7.1", "no such user")),
        ("5.0.0", "smtp; 450 4.2.1 later", Reply(450, "5.0.0", "later")),
        ("5.1.1", 'X-Postfix; unknown user: "ann"', Reply(None, "5.1.1", 'unknown user: "ann"')),
        ("5.1.1", "", Reply(None, "5.1.1", "")),
        ("", "smtp;550 gone", Reply(550, None, "gone")),
        ("", "", None),
    ],
)
def test_codes(status: str, diagnostic: str, reply: Reply | None) -> None:
    """The report's own status, unless it says less than the server's."""
    text = TWO_FAILED.replace("Status: 5.1.1", f"Status: {status}", 1).replace(
        "smtp; 550 5.1.1 <ann@elsewhere.example>: Recipient address\n    rejected: User unknown", diagnostic
    )
    assert read(text)[0].reply == reply


def test_addresses_in_utf_8() -> None:
    """RFC 6533: in the field as it is, or escaped; the part in base64 or not."""
    one = read_one(INTERNATIONAL)
    assert (one.type, one.recipient, one.message_id) == (EventType.BOUNCED, "jörg@example.com", "<3.3@app.example.org>")
    assert one.reply == Reply(550, "5.1.1", "Adresse unbekannt: jörg")
    head, _, rest = INTERNATIONAL.partition("Content-Transfer-Encoding: 8bit\n\n")
    part, _, tail = rest.partition("--b\n")
    encoded = base64.encodebytes(part.encode()).decode()
    assert read_one(f"{head}Content-Transfer-Encoding: base64\n\n{encoded}--b\n{tail}").recipient == "jörg@example.com"


def test_a_complaint_whose_recipient_is_hidden_is_tied_by_its_token() -> None:
    """A provider's "redacted" is nobody's address."""
    one = read_one(COMPLAINT)
    assert (one.type, one.recipient, one.message_pk, one.proven) == (EventType.COMPLAINED, None, 7, True)
    assert (one.category, one.message_id) == ("abuse", "<9.9@app.example.org>")
    assert one.at == datetime(2026, 11, 27, 11, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("feedback", "type"),
    [
        ("fraud", EventType.COMPLAINED),
        ("Abuse", EventType.COMPLAINED),
        ("opt-out", EventType.UNSUBSCRIBED),
        ("not-spam", EventType.UNKNOWN),
        ("auth-failure", EventType.UNKNOWN),
    ],
)
def test_kinds_of_feedback(feedback: str, type: EventType) -> None:
    """ "This is not spam" and a broken signature are nobody's complaint."""
    assert read_one(COMPLAINT.replace("abuse\n", f"{feedback}\n", 1).replace("abuse report", "report")).type is type


def test_recipients_of_complaints() -> None:
    """Where the provider tells them: in the report, in the message, in Microsoft's own field."""
    told = COMPLAINT.replace("<redacted@provider.example>", "<ann@provider.example>")
    assert read_one(told).recipient == "ann@provider.example"
    quoted = COMPLAINT.replace("To: undisclosed", "To: Ann <ann@provider.example>")
    assert read_one(quoted).recipient == "ann@provider.example"
    microsoft = (
        "From: staff@hotmail.com\nMessage-ID: <jmrp@hotmail.com>\nContent-Type: multipart/mixed; boundary=b\n\n"
        "--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: ann@outlook.com\n"
        f"Return-Path: <{TO}>\nSubject: x\n\nHello\n--b--\n"
    )
    one = read_one(microsoft)
    assert (one.type, one.recipient, one.proven) == (EventType.COMPLAINED, "ann@outlook.com", True)


@pytest.mark.parametrize(
    "field",
    [
        "Auto-Submitted: auto-replied",
        "X-Autoreply: yes",
        "Precedence: auto_reply",
        "Subject: Automatic reply: your receipt",
        "Subject: Abwesenheitsnotiz: Re: Quittung",
        "Subject: =?utf-8?q?R=C3=A9ponse_automatique?=",
        "Subject: Out of Office",
    ],
)
def test_vacations(field: str) -> None:
    """They are `autoresponded`, whatever words are in them."""
    text = VACATION.replace("Auto-Submitted: auto-replied (vacation)", "X-Other: x").replace("Subject: Re: Your", "X: ")
    one = read_one(f"{field}\n{text}")
    assert (one.type, one.recipient, one.message_pk) == (EventType.AUTORESPONDED, "ann@example.com", 7)
    assert one.message_id == "<1.2@app.example.org>"


def test_a_persons_reply_is_no_report() -> None:
    """With the token, too: it is left to people."""
    text = VACATION.replace("Auto-Submitted: auto-replied (vacation)\n", "")
    with pytest.raises(UnreadableError, match="there is no report in it"):
        read(text)


def test_bounces_without_a_delivery_report() -> None:
    """By the extra `bounces`, without a code; and by a field that Exim has."""
    one = read_one(QMAIL)
    assert (one.type, one.recipient, one.reply, one.proven) == (EventType.BOUNCED, "carol@example.net", None, True)
    exim = f"X-Failed-Recipients: dan@example.net\nFrom: Mail Delivery System <Mailer-Daemon@h>\nTo: {TO}\n\nfailed\n"
    assert read_one(exim).recipient == "dan@example.net"


def test_what_a_mail_server_says_in_unknown_words_is_kept() -> None:
    """With a valid token it is about this message, whatever it says."""
    text = f"Return-Path: <>\nFrom: postmaster@example.com\nTo: {TO}\nSubject: Hm\n\nSomething is odd.\n"
    one = read_one(text)
    assert (one.type, one.message_pk, one.proven) == (EventType.UNKNOWN, 7, True)
    with pytest.raises(UnreadableError):
        read(text.replace(TOKEN, changed()))


@pytest.mark.parametrize(
    "rewritten",
    [TO.upper(), f"prvs=12ab34cd56={TO}", f"SRS0=HHH=TT=bounces.example.org=bounce+{TOKEN}@forward.example"],
)
def test_addresses_that_servers_rewrite(rewritten: str) -> None:
    """Case, BATV and SRS leave the token as it is."""
    text = TWO_FAILED.replace(f"Delivered-To: {TO}", f"Delivered-To: {rewritten}").replace(
        f"To: {TO}", "To: x@y.example"
    )
    text = text.replace(f"Original-Envelope-Id: {TOKEN}\n", "").replace(f"Return-Path: <{TO}>\n", "")
    assert {one.message_pk for one in read(text)} == {7}


def test_the_address_beside_the_mail() -> None:
    """As a pipe gives it, where the mail itself does not have it."""
    text = TWO_FAILED.replace(TO, "bounces@example.org").replace(TOKEN, "none")
    assert {(one.message_pk, one.proven) for one in read(text)} == {(None, False)}
    assert {(one.message_pk, one.proven) for one in read(text, to=TO)} == {(7, True)}


def test_tokens() -> None:
    """Another key, another environment, another digit, another number: not one of ours."""
    for number in (0, 1, 7, 2**62):
        assert ADDRESSES.read([ADDRESSES.of_message(number)]) is not None
    delivery, message = ADDRESSES.of_delivery(7), ADDRESSES.of_message(7)
    assert len(delivery) == len(message) == 40
    assert len(TO.partition("@")[0]) <= 64
    named = ADDRESSES.read([f"<{ADDRESSES.address(delivery.upper())}>"])
    assert named is not None
    assert (named.delivery_id, named.message_pk) == (7, None)
    for place in range(40):
        other = f"{int(TOKEN[place], 16) ^ 1:x}"
        assert ADDRESSES.read([TOKEN[:place] + other + TOKEN[place + 1 :]]) is None
    assert ADDRESSES.read([f"a{TOKEN}", f"{TOKEN}0", TOKEN[:-1]]) is None
    assert BounceAddresses("d", (b"o" * 32,)).read([TOKEN]) is None
    assert BounceAddresses("d", (b"k" * 32,), "staging").read([TOKEN]) is None
    assert BounceAddresses("d", (b"o" * 32, b"k" * 32)).read([TOKEN]) is not None  # rotated


def test_a_report_without_its_end() -> None:
    """What is reported stands before the message that is quoted, however large that is."""
    cut = TWO_FAILED.partition("--ABC/mx.example.org\nContent-Type: text/rfc822-headers")[0]
    assert len(read(cut)) == 2
    assert len(read(TWO_FAILED.replace("--ABC/mx.example.org--", "x" * 80 + "\n") + "y" * 3_000_000)) == 2


def test_a_message_that_quotes_a_report_is_none() -> None:
    """A bounce that somebody forwards as an attachment is somebody's mail."""
    text = "From: ann@example.com\nContent-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: message/rfc822\n\n"
    with pytest.raises(UnreadableError):
        read(text + TWO_FAILED + "--q--\n")


def test_traps() -> None:
    """Multiparts in one another, thousands of parts, endless fields: refused or cut, in no time."""
    deep = "".join(f'Content-Type: multipart/mixed; boundary="{n}"\n\n--{n}\n' for n in range(3_000))
    with pytest.raises(UnreadableError, match="deep"):
        read(deep)
    wide = "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 100_000
    with pytest.raises(UnreadableError, match="parts"):
        read(wide)
    same = 'Content-Type: multipart/mixed; boundary="b"\n\n--b\n' * 5_000
    with pytest.raises(UnreadableError):
        read(same)
    long = TWO_FAILED.replace("Subject: Und", f"X: {'a, ' * 200_000}\nSubject: Und")
    assert len(read(long)) == 2
    end = "\n--ABC/mx.example.org\nContent-Type: text/rfc822"
    block = "\nFinal-Recipient: rfc822; a@b.example\nAction: failed\n"
    many = TWO_FAILED.replace(end, block * 5_000 + end)
    assert len(many) > len(TWO_FAILED) + 200_000
    assert len(read(many)) == 200
