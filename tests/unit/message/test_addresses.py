"""Addresses: what is one, what it becomes in header and envelope, and what is refused."""

from __future__ import annotations

from email.utils import formataddr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outbox.core.errors import AddressError, BadHeaderError, MessageError
from outbox.message.address_rules import split
from outbox.message.addresses import Mailbox, mailbox_of, pair, parse, parse_list, sender_of, unique_mailboxes


@example("=?utf-8?q?a=40b?=@example.org")
@example("ann@example-.org")
@example("ann@example.org\n")
@example("ann@" + "b" * 64 + ".org")
@given(
    st.from_regex(r"[a-zA-Z0-9_+=?.-]{1,70}@[a-zA-Z0-9_.-]{1,70}\n?", fullmatch=True)
    | st.text("aZ9.@-_=? <>;", max_size=20)
)
def test_an_ordinary_address_is_read_as_any_other(text: str) -> None:
    """The short way for what nearly all addresses look like gives what `parse` gives, and lets nothing else through."""
    found: list[object] = []
    for read in (parse, mailbox_of):
        try:
            found.append(read(text, "to"))
        except MessageError as error:
            found.append(str(error))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("ann@example.org", "", "ann@example.org"),
        (" ann@example.org ", "", "ann@example.org"),
        ("<ann@example.org>", "", "ann@example.org"),
        ("Ann <ann@example.org>", "Ann", "ann@example.org"),
        ("Doe, Ann <ann@example.org>", "Doe, Ann", "ann@example.org"),
        ('"Doe, \\"A\\" Ann" <ann@example.org>', 'Doe, "A" Ann', "ann@example.org"),
        ("ann@home <ann@example.org>", "ann@home", "ann@example.org"),
        ("ann@example.org <ann@example.org>", "ann@example.org", "ann@example.org"),
        ("Jörg <joerg@EXAMPLE.org>", "Jörg", "joerg@EXAMPLE.org"),
        (formataddr(("Jörg Müller", "joerg@example.org")), "Jörg Müller", "joerg@example.org"),
        ("=?x-unknown?q?a?= <ann@example.org>", "=?x-unknown?q?a?=", "ann@example.org"),
        ('"a.b"@example.org', "", '"a.b"@example.org'),
        ('"ann lee"@example.org', "", '"ann lee"@example.org'),
        ("a..b@docomo.example", "", '"a..b"@docomo.example'),
        ("ab.@docomo.example", "", '"ab."@docomo.example'),
        (".ab@docomo.example", "", '".ab"@docomo.example'),
        ("ann@my_host.example.org", "", "ann@my_host.example.org"),
        ("x" * 65 + "@example.org", "", "x" * 65 + "@example.org"),
        ("é" * 33 + "@example.org", "", "é" * 33 + "@example.org"),
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
        *("ann@example..org", "ann@-a.org", "ann@a-.org"),
        *("ann@[1.2.3]", "ann@[fe80::1%eth0]", "ann@[127.0.0.1", "<ann@example.org", "Ann <>"),
        *(
            "ann@" + "a" * 64 + ".org",
            "ann@" + "a." * 127 + "org",
            "x" * 310 + "@example.org",
        ),
        *("ann@example.org.", "ann@\u200b.org", "a\u200bnn@example.org", "a\u00a0b@example.org", "ann@ex ample.org"),
        *("=?utf-8?q?a=40evil.org?=@example.org", "undisclosed-recipients:;", "ann@example.org (Ann)", "ann@☃\u2028"),
        *('"a<b"@example.org', '"a@example.org', "a(b)@example.org", "ann@é\u0301\u0301-.org"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """RFC 5321 §4.1.2, and what readers could take for another address."""
    with pytest.raises(MessageError) as caught:
        parse(text, "recipients[0]")
    assert caught.value.field == "recipients[0]"
    assert isinstance(caught.value, AddressError | BadHeaderError)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "is empty"),
        ("ann", "has no @"),
        ("@example.org", "nothing before the @"),
        ("ann@", "nothing after the @"),
        ("x" * 310 + "@example.org", "322 octets.*64 octets before the @"),
        ("ann lee@example.org", 'a blank before the @.*"ann lee"@example.org'),
        ("a@b@example.org", 'another @ before the @.*"a@b"@example.org'),
        ("a,b@example.org", """',' before the @.*"a,b"@example.org"""),
        ("a\u200bnn@example.org", r"an invisible character \(U\+200B\)"),
        ("ann(home)@example.org", "a comment in parentheses"),
        ("ann@example.org (Ann)", "a comment in parentheses"),
        ("mailto:ann@example.org", "starts with mailto:"),
        ("=?utf-8?q?a=40b?=@example.org", "starts encoded text"),
        ("undisclosed-recipients:;", "is a group"),
        ("Ann <ann@example.org> x", "text after the >"),
        ("<ann@example.org", "an angle bracket at one end only"),
        ('"ann@example.org', "a quotation mark that is not one of a pair"),
        ("ann@example..org", "a dot too many"),
        ("ann@example.org.", "ends in a dot"),
        ("ann@example.org,", "ends in ','"),
        ("ann@-example.org", "starts or ends with a hyphen"),
        ("ann@" + "a" * 64 + ".org", "longer than 63 octets"),
        ("ann@" + "a." * 125 + "organ", "longer than 253 octets"),
        ("ann@ex ample.org", "a blank in it"),
        ("ann@exam!ple.org", "holds '!'"),
        ("ann@[1.2.3]", "not an IP address"),
    ],
)
def test_an_error_names_the_rule_that_is_broken(text: str, rule: str) -> None:
    """With the quoted form where that could be meant."""
    with pytest.raises(AddressError, match=rule) as caught:
        parse(text, "recipients[0]")
    assert " is none" not in str(caught.value)


SEVERAL = [
    "ann@example.org, bob@example.org",
    "ann@example.org,bob@example.org",
    "Ann <ann@example.org>, Bob <bob@example.org>",
    "Ann <ann@example.org>, bob@example.org",
    "ann@example.org, Bob <bob@example.org>",
    "ann@example.org; bob@example.org",
    "Ann <ann@example.org>; Bob <bob@example.org>",
    "ann@example.org bob@example.org",
    "Ann <ann@example.org> Bob <bob@example.org>",
    "<ann@example.org><bob@example.org>",
    '"Doe, Ann" <ann@example.org>, "Roe, Bob" <bob@example.org>',
    "ann@example.org，bob@example.org",
    '"a,b"@example.org, bob@example.org',
    "jörg@example.org, bob@example.org",
]
GROUPS = ["Team: ann@example.org, bob@example.org;", "Team: Ann <ann@example.org>, bob@example.org;", "Team:;"]


@pytest.mark.parametrize("text", [*SEVERAL, "ann@example.org <bob@example.org>", "Ann ann@example.org, Bob <b@x.org>"])
def test_several_addresses_in_one_string_are_refused(text: str) -> None:
    """Whatever stands between them: all but one would be lost."""
    with pytest.raises(AddressError, match=r"holds several addresses. Give a list"):
        parse(text, "cc[0]")
    with pytest.raises(AddressError, match=r"holds several addresses. Give a list"):
        pair("Ann", text, "cc[0]")


@pytest.mark.parametrize("text", SEVERAL)
def test_a_sender_of_several_addresses_is_refused(text: str) -> None:
    """A message has one sender."""
    with pytest.raises(AddressError, match=r"holds several addresses. Give one"):
        sender_of(text)


@pytest.mark.parametrize("text", GROUPS)
def test_a_group_is_refused(text: str) -> None:
    """Its members would be lost."""
    with pytest.raises(AddressError, match="is a group"):
        parse(text, "cc[0]")


@pytest.mark.parametrize(
    "text",
    [
        "Doe, Ann <ann@example.org>",
        "Sales; Support <ann@example.org>",
        '"ann@example.org, bob@example.org" <ann@example.org>',
        '"bob@example.org" <ann@example.org>',
        "Ann (bob@example.org) <ann@example.org>",
        "Re: all; now <ann@example.org>",
        '"a@b,c@d"@example.org',
    ],
)
def test_one_address_with_an_odd_name_is_one_address(text: str) -> None:
    """Commas, semicolons and addresses may stand in a name."""
    parse(text, "cc[0]")
    sender_of(text)


def test_the_name_of_a_sender_may_be_another_address() -> None:
    """`sender=(visitor's address, own address)` of a contact form: Flask-Mail has made one string of it."""
    assert sender_of("ann@example.org <shop@example.com>").name == "ann@example.org"


@pytest.mark.parametrize("value", [("None <a@b.c>"), (None, "a@b.c"), [None, "a@b.c"], ("", "a@b.c")])
def test_a_sender_without_a_name_has_none(value: object) -> None:
    """Flask-Mail makes "None <a@b.c>" of a pair with None."""
    assert sender_of(value).wire == "a@b.c"


def test_a_sender_may_be_a_list_of_name_and_address() -> None:
    """As JSON and YAML have it; two addresses are not that."""
    assert sender_of(["Shop", "a@b.c"]).wire == "Shop <a@b.c>"
    with pytest.raises(AddressError, match="list of addresses"):
        sender_of(["a@b.c", "d@e.f"])


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a@b.c", ["a@b.c"]),
        ("a@b.c, d@e.f", ["a@b.c", "d@e.f"]),
        ('"Doe, Ann" <a@b.c>, d@e.f', ['"Doe, Ann" <a@b.c>', "d@e.f"]),
        ('"a,b"@b.c,d@e.f', ['"a,b"@b.c', "d@e.f"]),
        ("Doe, Ann <a@b.c>", ["Doe, Ann <a@b.c>"]),
        ("a@b.c; d@e.f", ["a@b.c; d@e.f"]),
        ("a@b.c, d", ["a@b.c, d"]),
        ("a@b.c,", ["a@b.c,"]),
        ("", [""]),
    ],
)
def test_a_header_field_is_split_only_between_complete_addresses(text: str, pieces: list[str]) -> None:
    """Anything else stays whole, to be refused by who reads it."""
    assert split(text) == pieces


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
    "value", [None, 5, ("a",), ("a", "b", "c"), ("Ann", None), (1, "a@b.c"), ["a@b.c", "d@e.f"], b"\xff"]
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
