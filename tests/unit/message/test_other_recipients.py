"""Nothing in a header section tells one recipient of another."""

from __future__ import annotations

import pytest

from outbox.message.other_recipients import header_without, hidden, without_others

OWN, OTHERS = {"ann@example.org"}, {"bob@example.org", "eve@xn--bcher-kva.example"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("for Bob@Example.ORG.", "for [another recipient]."),
        ("welcome-bob@example.org", "welcome-[another recipient]"),
        ("<eve@bücher.example>", "<[another recipient]>"),
        ("ann@example.org", "ann@example.org"),
        ("bob@example.org.uk, bobby@example.org", "bob@example.org.uk, bobby@example.org"),
    ],
)
def test_text(text: str, shown: str) -> None:
    """Whole addresses, in any spelling, and not those that only begin like one."""
    assert hidden(text, OTHERS) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("To", 'Ann <ann@example.org>, "B, ob" <bob@example.org>', "Ann <ann@example.org>, Other recipients:;"),
        ("Cc", "ann@example.org", "ann@example.org"),
        ("Bcc", "stranger@example.org", "Other recipients:;"),
        ("Reply-To", "bob@example.org", "bob@example.org"),
        ("X-User", "bob@example.org", "[another recipient]"),
    ],
)
def test_header(name: str, value: str, shown: str) -> None:
    """A list of recipients keeps the person alone, whoever the others are; who wrote it stays."""
    assert header_without(name, value, OWN, OTHERS) == shown


def test_what_need_not_change() -> None:
    """Bytes that name nobody else stay as they are, folded and encoded as they were; the body does always."""
    raw = b"From: x@y\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_an_alle?=\r\n\r\nCc: bob@example.org\r\n"
    assert without_others(raw, OWN, OTHERS) == raw
