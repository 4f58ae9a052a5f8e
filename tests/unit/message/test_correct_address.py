"""One address is corrected in a message's header; all else stays to the byte."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default

import pytest

from outbox.message.addresses import Mailbox, parse
from outbox.message.correct_address import readdress

OLD = "ann@exmaple.org"
NEW = parse("ann@example.org", "recipient")
REST = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-To: ann@exmaple.org\r\n\r\nTo: ann@exmaple.org\r\n"


def message(*fields: str) -> bytes:
    return "".join(f"{field}\r\n" for field in fields).encode() + REST


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("To: ann@exmaple.org", "To: ann@example.org"),
        ("TO:ann@exmaple.org", "TO: ann@example.org"),
        ("To : ann@exmaple.org", "To: ann@example.org"),
        ("Cc: ann@Exmaple.ORG", "Cc: ann@example.org"),
        ("To: Ann <ann@exmaple.org>, bob@exmaple.org", "To: Ann <ann@example.org>, bob@exmaple.org"),
        ('To: "Ann, PhD" <ann@exmaple.org>', 'To: "Ann, PhD" <ann@example.org>'),
        ("To: =?utf-8?q?J=C3=BCrg?= <ann@exmaple.org>", "To: =?utf-8?b?SsO8cmc=?= <ann@example.org>"),
        ("To: Bob <bob@example.org>,\r\n Ann <ann@exmaple.org>", "To: Bob <bob@example.org>, Ann <ann@example.org>"),
        ("To: ann@exmaple.org, ann@example.org", "To: ann@example.org"),
    ],
)
def test_the_address_is_corrected(before: str, after: str) -> None:
    """In To and Cc, with or without a name, folded or not; nowhere else."""
    corrected, fields = readdress(message("From: shop@example.com", before), OLD, NEW)
    assert corrected == message("From: shop@example.com", after)
    [(name, value)] = fields.items()
    assert name == after.partition(":")[0]
    assert "ann@example.org" in value


@pytest.mark.parametrize(
    "field",
    [
        "To: bob@example.org",
        "To: undisclosed-recipients:;",
        "To: xann@exmaple.org",
        "Reply-To: ann@exmaple.org",
        "To: \x00 <ann@exmaple.org>",
        "To:",
    ],
)
def test_what_is_not_there_is_left_alone(field: str) -> None:
    """A message without the address, or whose field can't be read, stays to the byte."""
    before = message(field)
    assert readdress(before, OLD, NEW) == (before, {})


def test_a_name_may_be_given() -> None:
    """A new name goes before the new address; without one the old name stays."""
    corrected, fields = readdress(message("To: Ann <ann@exmaple.org>"), OLD, Mailbox("Änn", "ann", "example.org"))
    assert message_from_bytes(corrected, policy=default)["To"] == "Änn <ann@example.org>"
    assert fields == {"To": "Änn <ann@example.org>"}


def test_long_fields_are_folded() -> None:
    """No line gets longer than others are."""
    many = ", ".join(f"Person Number {n} <person{n}@long.example.org>" for n in range(40))
    corrected, _ = readdress(message(f"To: {many.replace(', ', ',' + chr(13) + chr(10) + ' ')},\r\n {OLD}"), OLD, NEW)
    assert max(map(len, corrected.split(b"\r\n"))) <= 78
    assert len(message_from_bytes(corrected, policy=default)["To"].addresses) == 41
