"""Addresses: what is one, what it becomes in header and envelope, and what is refused."""

from __future__ import annotations

from email.utils import formataddr

import pytest

from outbox.errors import AddressError, BadHeaderError, MessageError
from outbox.mime.addresses import Mailbox, mailbox_of, parse, parse_list, unique_mailboxes


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("ann@example.org", "", "ann@example.org"),
        (" ann@example.org ", "", "ann@example.org"),
        ("<ann@example.org>", "", "ann@example.org"),
        ("Ann <ann@example.org>", "Ann", "ann@example.org"),
        ("Doe, Ann <ann@example.org>", "Doe, Ann", "ann@example.org"),
        ('"Doe, \\"A\\" Ann" <ann@example.org>', 'Doe, "A" Ann', "ann@example.org"),
        ("a@b.c <ann@example.org>", "a@b.c", "ann@example.org"),
        ("Jörg <joerg@EXAMPLE.org>", "Jörg", "joerg@EXAMPLE.org"),
        (formataddr(("Jörg Müller", "joerg@example.org")), "Jörg Müller", "joerg@example.org"),
        ("=?x-unknown?q?a?= <ann@example.org>", "=?x-unknown?q?a?=", "ann@example.org"),
        ('"a b"@example.org'.replace(" ", "."), "", '"a.b"@example.org'),
        ("jörg@faß.de", "", "jörg@xn--fa-hia.de"),
        ("a@例え.jp", "", "a@xn--r8jz45g.jp"),
        ("a@[127.0.0.1]", "", "a@[127.0.0.1]"),
        ("a@[IPv6:2001:db8::1]", "", "a@[IPv6:2001:db8::1]"),
        ("root@localhost", "", "root@localhost"),
    ],
)
def test_an_address_is_read(text: str, name: str, address: str) -> None:
    """Bare, in angle brackets, with a name quoted, unquoted or in encoded words; domains by IDNA 2008."""
    mailbox = parse(text, "sender")
    assert (mailbox.name, mailbox.address) == (name, address)


@pytest.mark.parametrize(
    "text",
    [
        *("", "ann", "@example.org", "ann@", "a b@example.org", "ann@example.org, bob@example.org", "a@b@c,d"),
        *("ann@example..org", ".ann@example.org", "an..n@example.org", "ann.@example.org", "ann@-a.org", "ann@a-.org"),
        *("ann@exa_mple.org", "ann@[1.2.3]", "ann@[fe80::1%eth0]", "ann@[127.0.0.1", "<ann@example.org", "Ann <>"),
        *(
            "ann@" + "a" * 64 + ".org",
            "ann@" + "a." * 127 + "org",
            "x" * 65 + "@example.org",
            "é" * 33 + "@example.org",
        ),
        *("ann@example.org.", "ann@\u200b.org", "a\u200bnn@example.org", "a\u00a0b@example.org", "ann@ex ample.org"),
        *("=?utf-8?q?a=40evil.org?=@example.org", "undisclosed-recipients:;", "ann@example.org (Ann)", "ann@☃\u2028"),
        *('"a b"@example.org', '"a@example.org', "a(b)@example.org", "ann@é\u0301\u0301-.org"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """RFC 5321 §4.1.2, and what readers could take for another address."""
    with pytest.raises(MessageError) as caught:
        parse(text, "recipients[0]")
    assert caught.value.field == "recipients[0]"
    assert isinstance(caught.value, AddressError | BadHeaderError)


@pytest.mark.parametrize(
    "text", ["a@b.c\r\nX: y", "A\nB <a@b.c>", "a\0@b.c", "A <a\u2028@b.c>", "A <a\x01@b.c>", "\ud800@b.c"]
)
def test_line_breaks_in_an_address_are_bad_headers(text: str) -> None:
    """As Flask-Mail says BadHeaderError, whatever else is wrong."""
    with pytest.raises(BadHeaderError):
        parse(text, "sender")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Ann\u2028Lee", "Ann Lee"),
        ("Ann\tLee", "Ann Lee"),
        ("Ann\x0bLee", "Ann Lee"),
        ("A\x07nn", "Ann"),
        ("O\x92Neil", "O\x92Neil"),
        ("=?utf-8?q?a=0D=0AX:_y?=", "a X: y"),
        ("=?utf-8?q?a=E2=80=A8y?=", "a y"),
        ("=?utf-8?b?SsO2cmc=?=", "Jörg"),
        ("=?klingon?q?a?=", "=?klingon?q?a?="),
    ],
)
def test_a_customers_name_is_no_error(given: str, name: str) -> None:
    """What pages contain is cleaned, encoded words are decoded, in a string and in a tuple; nothing adds a header."""
    for value in (f"{given} <a@b.c>", (given, "a@b.c")):
        mailbox = mailbox_of(value, "cc")
        assert mailbox.name == name
        assert mailbox.wire.isprintable()


@pytest.mark.parametrize(
    "value", [None, 5, ("a",), ("a", "b", "c"), ("Ann", None), (1, "a@b.c"), ["Ann", "a@b.c"], b"\xff"]
)
def test_wrong_types_are_refused(value: object) -> None:
    """With an error of ours that names the field."""
    with pytest.raises(MessageError, match=r"^cc\[1\]"):
        mailbox_of(value, "cc[1]")


def test_the_name_of_a_tuple_is_literal() -> None:
    """Nothing in it is syntax, but encoded words are decoded, as readers decode what Flask-Mail makes of them."""
    assert mailbox_of(('"=?utf-8?q?a?=" <x@y.z>', "a@b.c"), "cc").name == '"a" <x@y.z>'
    assert mailbox_of((None, "a@b.c"), "cc").wire == "a@b.c"


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("Ann", "Ann <a@b.c>"),
        ("Ann Doe", "Ann Doe <a@b.c>"),
        ("Doe, Ann", '"Doe, Ann" <a@b.c>'),
        ('A "B" \\', '"A \\"B\\" \\\\" <a@b.c>'),
        ("Jörg", "=?utf-8?b?SsO2cmc=?= <a@b.c>"),
        ("=?utf-8?q?a?=", "=?utf-8?b?PT91dGYtOD9xP2E/PQ==?= <a@b.c>"),
    ],
)
def test_a_name_stands_in_a_header_as_it_must(name: str, wire: str) -> None:
    """Atoms, a quoted string or encoded words."""
    assert Mailbox(name, "a", "b.c").wire == wire


def test_an_address_counts_once() -> None:
    """The domain in any case, the local part to the letter; the first name stays, and the order."""
    found = unique_mailboxes(parse_list('B <b@x.org>, A <a@X.org>, "a, b" <A@x.org>, <a@x.ORG>', "cc"))
    assert [str(mailbox) for mailbox in found] == ["B <b@x.org>", "A <a@X.org>", '"a, b" <A@x.org>']
    assert [mailbox.envelope for mailbox in found] == ["b@x.org", "a@x.org", "A@x.org"]
