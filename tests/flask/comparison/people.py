"""Addresses in every field, envelopes, headers, configurations."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from email.headerregistry import Address
from email.utils import formataddr
from typing import Any

from werkzeug.local import LocalProxy

from tests.flask.comparison.lazy import BabelString, SpeakString
from tests.flask.comparison.outcomes import Row, differs, refused, row, sends
from tests.flask.comparison.running import NOTHING

Pair = namedtuple("Pair", "name address")


@dataclasses.dataclass
class Customer:
    """An object that writes itself as an address."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>"


def to(value: Any) -> dict[str, Any]:
    """One recipient."""
    return {"recipients": [value]}


SEVERAL = {
    "commas": "ann@example.org, bob@example.org",
    "commas without blanks": "ann@example.org,bob@example.org",
    "commas, with names": "Ann <ann@example.org>, Bob <bob@example.org>",
    "commas, the first with a name": "Ann <ann@example.org>, bob@example.org",
    "commas, the last with a name": "ann@example.org, Bob <bob@example.org>",
    "semicolons": "ann@example.org; bob@example.org",
    "semicolons, with names": "Ann <ann@example.org>; Bob <bob@example.org>",
    "blanks": "ann@example.org bob@example.org",
    "blanks, with names": "Ann <ann@example.org> Bob <bob@example.org>",
    "blanks, in brackets": "<ann@example.org> <bob@example.org>",
    "no separator": "<ann@example.org><bob@example.org>",
    "a group": "Team: ann@example.org, bob@example.org;",
    "a group with names": "Team: Ann <ann@example.org>, Bob <bob@example.org>;",
    "quoted names": '"Doe, Ann" <ann@example.org>, "Roe, Bob" <bob@example.org>',
}

ADDRESSES: list[Row] = [
    row("address: bare", **to("ann@example.org")),
    row("address: in brackets", **to("<ann@example.org>")),
    row("address: with a name", **to("Ann <ann@example.org>")),
    row("address: with a quoted name", **to('"Doe, Ann" <ann@example.org>')),
    row("address: a quoted name with quotes", **to('"Doe, \\"A\\" Ann" <ann@example.org>')),
    row(
        "address: an unquoted comma in the name",
        differs("Names stay as they are given", recipients=["ann@example.org"], to=[("Doe, Ann", "ann@example.org")]),
        **to("Doe, Ann <ann@example.org>"),
    ),
    row("address: a dot in the name", **to("Ann B. Doe <ann@example.org>")),
    row("address: accents in the name", **to("Jörg Müller <joerg@example.org>")),
    row("address: formataddr", **to(formataddr(("Jörg Müller", "joerg@example.org")))),
    row("address: parentheses in the name", **to("Ann (PhD) <ann@example.org>")),
    row(
        "address: an at sign in the name",
        differs("Names stay as they are given", recipients=["ann@example.org"], to=[("Ann@Home", "ann@example.org")]),
        **to("Ann@Home <ann@example.org>"),
    ),
    row(
        "address: an address as the name",
        differs("Names stay as they are given", to=[("ann@example.org", "ann@example.org")]),
        **to("ann@example.org <ann@example.org>"),
    ),
    row("address: a quoted address as the name", **to('"ann@example.org" <ann@example.org>')),
    row(
        "address: a colon in the name",
        differs("Names stay as they are given", to=[("Shop: Sales", "ann@example.org")]),
        **to("Shop: Sales <ann@example.org>"),
    ),
    row("address: an apostrophe", **to("O'Brien <o'brien@example.org>")),
    row("address: emoji in the name", **to("Ann 🎉 <ann@example.org>")),
    row("address: a pair", **to(("Ann", "ann@example.org"))),
    row("address: a pair with a comma", **to(("Doe, Ann", "ann@example.org"))),
    row("address: a pair with quotes", **to(('The "A" Team', "ann@example.org"))),
    row("address: a pair with accents", **to(("Jörg", "joerg@example.org"))),
    row("address: a pair with an empty name", **to(("", "ann@example.org"))),
    row("address: a pair with None", **to((None, "ann@example.org"))),
    row("address: a pair with an address as the name", **to(("ann@example.org", "ann@example.org"))),
    row("address: a pair with another address as the name", **to(("bob@example.org", "ann@example.org"))),
    row("address: a named tuple", **to(Pair("Ann", "ann@example.org"))),
    row("address: a list as a pair", sends(to=[("Ann", "ann@example.org")]), **to(["Ann", "ann@example.org"])),
    row("address: a list of two addresses", **to(["ann@example.org", "bob@example.org"])),
    row("address: a tuple of one", **to(("ann@example.org",))),
    row("address: a tuple of three", **to(("Ann", "Doe", "ann@example.org"))),
    row("address: a pair without an address", **to(("Ann", None))),
    row("address: None", **to(None)),
    row("address: a number", **to(5)),
    row("address: bytes", sends(), **to(b"ann@example.org")),
    row("address: LocalProxy", **to(LocalProxy(lambda: "ann@example.org"))),
    row("address: LocalProxy of a pair", **to(LocalProxy(lambda: ("Ann", "ann@example.org")))),
    row("address: lazy string, flask_babel", sends(), **to(BabelString(lambda: "ann@example.org"))),
    row("address: lazy string, speaklater", **to(SpeakString(lambda: "ann@example.org"))),
    row(
        "address: lazy name",
        sends(to=[("Jörg", "ann@example.org")]),
        **to((BabelString(lambda: "Jörg"), "ann@example.org")),
    ),
    row("address: email's Address", sends(to=[("Ann", "ann@example.org")]), **to(Address("Ann", "ann", "example.org"))),
    row(
        "address: an object with a string form",
        sends(to=[("Ann", "ann@example.org")]),
        **to(Customer("Ann", "ann@example.org")),
    ),
    row("address: empty", refused("What is not an address"), **to("")),
    row("address: without an at sign", refused("What is not an address"), **to("ann")),
    row("address: without a domain", refused("What is not an address"), **to("ann@")),
    row("address: without a local part", refused("What is not an address"), **to("@example.org")),
    row("address: blanks around", **to(" ann@example.org ")),
    row("address: a blank inside", refused("What is not an address"), **to("ann lee@example.org")),
    row("address: a quoted blank", **to('"ann lee"@example.org')),
    row("address: a quoted at sign", **to('"a@b"@example.org')),
    row("address: two dots", **to("a..b@example.org")),
    row("address: a dot first", **to(".ann@example.org")),
    row("address: a dot before the at sign", **to("ann.@example.org")),
    row("address: 64 octets", **to("x" * 64 + "@example.org")),
    row("address: 65 octets", **to("x" * 65 + "@example.org")),
    row("address: 250 octets", **to("x" * 250 + "@example.org")),
    row("address: 400 octets", refused("What is not an address"), **to("x" * 400 + "@example.org")),
    row("address: an underscore in the domain", **to("ann@my_host.example.org")),
    row("address: a dash at the end of a label", refused("What is not an address"), **to("ann@host-.example.org")),
    row("address: a dot at the end", refused("What is not an address"), **to("ann@example.org.")),
    row("address: two dots in the domain", refused("What is not an address"), **to("ann@example..org")),
    row("address: a label of 64", refused("What is not an address"), **to("ann@" + "a" * 64 + ".org")),
    row("address: one label", **to("root@localhost")),
    row("address: an IP address", **to("ann@[127.0.0.1]")),
    row("address: upper case", **to("Ann@EXAMPLE.org")),
    row("address: an international domain", **to("ann@bücher.example")),
    row(
        "address: sharp s in the domain",
        differs("International domains by IDNA 2008", recipients=["ann@xn--fa-hia.de"], to=[("", "ann@xn--fa-hia.de")]),
        **to("ann@faß.de"),
    ),
    row(
        "address: an international local part",
        sends(recipients=["jörg@example.org"], to=[("", "jörg@example.org")]),
        **to("jörg@example.org"),
    ),
    row("address: a plus", **to("ann+tag@example.org")),
    row("address: odd characters", refused("What is not an address"), **to("!#$%&'*+-/=?^_`{|}~@example.org")),
    row("address: a comment", refused("What is not an address"), **to("ann@example.org (Ann)")),
    row("address: a comment before the at sign", refused("What is not an address"), **to("ann(comment)@example.org")),
    row("address: mailto:", refused("What is not an address"), **to("mailto:ann@example.org")),
    row("address: an invisible character", **to("a\u200bnn@example.org")),
    row("address: an invisible character at the end", **to("ann@example.org\u200b")),
    row("address: a no-break space at the end", **to("ann@example.org\u00a0")),
    row("address: a line feed at the end", **to("ann@example.org\n")),
    row("address: a header in it", **to("ann@example.org\r\nBcc: evil@example.org")),
    row("address: a header in the name", **to(("Ann\r\nBcc: evil@example.org", "ann@example.org"))),
    row("address: a tab in the name", **to("Ann\tDoe <ann@example.org>")),
    row(
        "address: a C1 control in the name",
        differs("Blanks survive", to=[("Ann ", "ann@example.org")]),
        **to(("Ann\x85", "ann@example.org")),
    ),
    row("address: a line separator in the name", **to(("Ann\u2028Doe", "ann@example.org"))),
    row("address: angle brackets in the name", **to(("Ann <x>", "ann@example.org"))),
    row("address: a comma after it", refused("What is not an address"), **to("ann@example.org,")),
    row("address: a comma after brackets", refused("What is not an address"), **to("Ann <ann@example.org>,")),
    row("address: text after it", refused("What is not an address"), **to("Ann <ann@example.org> Bob")),
    row("address: undisclosed", refused("Several addresses in one string"), **to("undisclosed-recipients:;")),
    *(
        row(f"several: {name}", refused("Several addresses in one string"), **to(text))
        for name, text in SEVERAL.items()
    ),
]

LISTS: list[Row] = [
    row("recipients: two", recipients=["ann@example.org", "bob@example.org"]),
    row("recipients: twice the same", recipients=["ann@example.org", "ann@example.org"]),
    row(
        "recipients: twice, with and without a name",
        differs("Each recipient once", to=[("", "ann@example.org")]),
        recipients=["ann@example.org", "Ann <ann@example.org>"],
    ),
    row("recipients: twice, in other case", recipients=["ann@example.org", "ann@EXAMPLE.ORG"]),
    row("recipients: in To and in Cc", recipients=["ann@example.org"], cc=["ann@example.org"]),
    row("recipients: a tuple", recipients=("ann@example.org", "bob@example.org")),
    row("recipients: a set", recipients={"ann@example.org", "bob@example.org"}),
    row("recipients: keys of a dict", recipients={"ann@example.org": 1, "bob@example.org": 2}.keys()),
    row("recipients: a dict", refused("A string or a dict in place of a list"), recipients={"ann@example.org": "Ann"}),
    row("recipients: a LocalProxy of a list", recipients=LocalProxy(lambda: ["ann@example.org", "bob@example.org"])),
    row("recipients: a string", refused("A string or a dict in place of a list"), recipients="ann@example.org"),
    row("recipients: none", recipients=[]),
    row("recipients: 200", recipients=[f"user{number}@example.org" for number in range(200)]),
    row("recipients: one of them empty", refused("What is not an address"), recipients=["ann@example.org", ""]),
    row("recipients: one of them None", recipients=["ann@example.org", None]),
    row("cc: only", recipients=[], cc=["ann@example.org"]),
    row("cc: pairs", cc=[("Bob", "bob@example.org")]),
    row("cc: a string", refused("A string or a dict in place of a list"), cc="bob@example.org"),
    row("bcc: only", recipients=[], bcc=["ann@example.org"]),
    row("bcc: and recipients", bcc=["bob@example.org", "cat@example.org"]),
    row("bcc: with a name", bcc=["Bob <bob@example.org>"]),
    row("add_recipient", then=lambda message: message.add_recipient("bob@example.org")),
    row("several: in cc", refused("Several addresses in one string"), cc=[SEVERAL["commas, with names"]]),
    row("several: in bcc", refused("Several addresses in one string"), bcc=[SEVERAL["commas"]]),
    row("several: in reply_to", refused("Several addresses in one string"), reply_to=SEVERAL["commas, with names"]),
    row("several: in the sender", refused("Several addresses in one string"), sender=SEVERAL["commas, with names"]),
    row("several: in the sender, bare", refused("Several addresses in one string"), sender=SEVERAL["commas"]),
    row("several: in the sender, blanks", refused("Several addresses in one string"), sender=SEVERAL["blanks"]),
]

SENDERS: list[Row] = [
    row("sender: bare", sender="shop@example.com"),
    row("sender: with a name", sender="Shop <shop@example.com>"),
    row("sender: a pair", sender=("Shop", "shop@example.com")),
    row(
        "sender: a pair with a comma",
        differs("Names stay as they are given", mail_from="shop@example.com", from_=[("Doe, Ann", "shop@example.com")]),
        sender=("Doe, Ann", "shop@example.com"),
    ),
    row("sender: a pair with accents", sender=("Größe", "shop@example.com")),
    row(
        "sender: a pair with quotes",
        differs("Names stay as they are given", from_=[('The "A" Team', "shop@example.com")]),
        sender=('The "A" Team', "shop@example.com"),
    ),
    row("sender: a pair with a dot", sender=("Shop Inc.", "shop@example.com")),
    row("sender: a pair with parentheses", sender=("Shop (EU)", "shop@example.com")),
    row(
        "sender: a pair with an at sign",
        differs(
            "Names stay as they are given", mail_from="shop@example.com", from_=[("Ann @ Shop", "shop@example.com")]
        ),
        sender=("Ann @ Shop", "shop@example.com"),
    ),
    row(
        "sender: a pair with an address",
        differs(
            "Names stay as they are given",
            mail_from="shop@example.com",
            from_=[("visitor@example.net", "shop@example.com")],
        ),
        sender=("visitor@example.net", "shop@example.com"),
    ),
    row(
        "sender: a pair with its own address",
        differs("Names stay as they are given", from_=[("shop@example.com", "shop@example.com")]),
        sender=("shop@example.com", "shop@example.com"),
    ),
    row(
        "sender: a pair with None",
        differs("A pair without a name has none", from_=[("", "shop@example.com")]),
        sender=(None, "shop@example.com"),
    ),
    row("sender: a pair with an empty name", sender=("", "shop@example.com")),
    row(
        "sender: a pair with a colon",
        differs("Names stay as they are given", from_=[("Shop: Sales", "shop@example.com")]),
        sender=("Shop: Sales", "shop@example.com"),
    ),
    row(
        "sender: a pair with a semicolon",
        differs(
            "Names stay as they are given", mail_from="shop@example.com", from_=[("Shop; Sales", "shop@example.com")]
        ),
        sender=("Shop; Sales", "shop@example.com"),
    ),
    row("sender: a list", sender=["Shop", "shop@example.com"]),
    row("sender: a list with None", sender=[None, "shop@example.com"]),
    row(
        "sender: a list of two addresses",
        refused("Several addresses in one string"),
        sender=["shop@example.com", "bob@example.com"],
    ),
    row("sender: a list of one", sender=["shop@example.com"]),
    row("sender: a triple", sender=("Shop", "shop@example.com", "x")),
    row("sender: LocalProxy", sender=LocalProxy(lambda: "shop@example.com")),
    row("sender: LocalProxy with a name", sender=LocalProxy(lambda: "Shop <shop@example.com>")),
    row("sender: LocalProxy of a pair", sender=LocalProxy(lambda: ("Shop", "shop@example.com"))),
    row(
        "sender: lazy string, flask_babel",
        sends(from_=[("Shop", "shop@example.com")]),
        sender=BabelString(lambda: "Shop <shop@example.com>"),
    ),
    row("sender: lazy string, speaklater", sender=SpeakString(lambda: "Shop <shop@example.com>")),
    row("sender: lazy name", sender=(BabelString(lambda: "Größe"), "shop@example.com")),
    row("sender: bytes", sends(), sender=b"shop@example.com"),
    row("sender: default", sender=NOTHING),
    row("sender: None", sender=None),
    row("sender: empty", sender=""),
    row("sender: default is a pair", sender=NOTHING, config={"MAIL_DEFAULT_SENDER": ("Shop", "shop@example.com")}),
    row("sender: default is a list", sender=NOTHING, config={"MAIL_DEFAULT_SENDER": ["Shop", "shop@example.com"]}),
    row(
        "sender: default without a name",
        differs("A pair without a name has none", from_=[("", "shop@example.com")]),
        sender=NOTHING,
        config={"MAIL_DEFAULT_SENDER": (None, "shop@example.com")},
    ),
    row("sender: none at all", sender=NOTHING, config={"MAIL_DEFAULT_SENDER": None}),
    row(
        "sender: set to None later",
        sends(mail_from="default@example.com", from_=[("", "default@example.com")]),
        then=lambda message: setattr(message, "sender", None),
    ),
    row("sender: set to a pair later", then=lambda message: setattr(message, "sender", ("Shop", "shop@example.com"))),
    row("sender: a header in it", sender="shop@example.com\r\nBcc: evil@example.org"),
    row("sender: a header in the name", sender=("Shop\r\nBcc: evil@example.org", "shop@example.com")),
    row("sender: international domain", sender="shop@bücher.example"),
    row(
        "sender: called None",
        differs("A pair without a name has none", from_=[("", "shop@example.com")]),
        sender="None <shop@example.com>",
    ),
    row("reply_to: bare", reply_to="help@example.com"),
    row("reply_to: with a name", reply_to="Help <help@example.com>"),
    row("reply_to: a pair", reply_to=("Help", "help@example.com")),
    row("reply_to: a pair with None", reply_to=(None, "help@example.com")),
    row("reply_to: a list as a pair", reply_to=["Help", "help@example.com"]),
    row(
        "reply_to: a list of addresses",
        differs(
            "A list in `reply_to` is several addresses", reply_to=[("", "help@example.com"), ("", "more@example.com")]
        ),
        reply_to=["help@example.com", "more@example.com"],
    ),
    row("reply_to: LocalProxy", reply_to=LocalProxy(lambda: "help@example.com")),
    row("reply_to: empty", reply_to=""),
    row("reply_to: a header in it", reply_to="help@example.com\nBcc: evil@example.org"),
    row("envelope: another sender", envelope_from="bounce@example.com"),
    row("envelope: a pair", envelope_from=("Bounce", "bounce@example.com")),
    row("envelope: with a name", envelope_from="Bounce <bounce@example.com>"),
    row("envelope: empty", envelope_from=""),
    row("envelope: null sender", envelope_from="<>"),
]

HEADERS: list[Row] = [
    row("header: ASCII", extra_headers={"X-Campaign": "7"}),
    row("header: accents", sends(headers=[("x-campaign", "Größe")]), extra_headers={"X-Campaign": "Größe"}),
    row("header: long", extra_headers={"X-Campaign": "word " * 60}),
    row("header: one long word", extra_headers={"X-Campaign": "w" * 400}),
    row("header: too long a word", extra_headers={"X-Campaign": "w" * 1200}),
    row("header: blanks around", extra_headers={"X-Campaign": "  a  "}),
    row("header: a tab", extra_headers={"X-Campaign": "a\tb"}),
    row("header: a number", extra_headers={"X-Campaign": 7}),
    row("header: None", extra_headers={"X-Campaign": None}),
    row("header: bytes", sends(headers=[("x-campaign", "7")]), extra_headers={"X-Campaign": b"7"}),
    row("header: LocalProxy", extra_headers={"X-Campaign": LocalProxy(lambda: "7")}),
    row("header: lazy string", extra_headers={"X-Campaign": BabelString(lambda: "7")}),
    row("header: encoded words", extra_headers={"X-Campaign": "=?utf-8?q?caf=C3=A9?="}),
    row("header: folded", extra_headers={"X-Campaign": "a\r\n b"}),
    row(
        "header: line break",
        refused("Line breaks and NULs in headers"),
        extra_headers={"X-Campaign": "a\r\nBcc: evil@example.org"},
    ),
    row("header: line feed", refused("Line breaks and NULs in headers"), extra_headers={"X-Campaign": "a\nb"}),
    row("header: NUL", refused("Line breaks and NULs in headers"), extra_headers={"X-Campaign": "a\0b"}),
    row(
        "header: C1 control",
        differs("Control characters in headers are taken out", headers=[("x-campaign", "a b")], text="Text"),
        extra_headers={"X-Campaign": "a\x85b"},
    ),
    row("header: a bad name", refused("Names of headers that are not names"), extra_headers={"X Campaign": "a"}),
    row(
        "header: a colon in the name",
        refused("Names of headers that are not names"),
        extra_headers={"X-Campaign:": "a"},
    ),
    row(
        "header: a line break in the name",
        refused("Names of headers that are not names"),
        extra_headers={"X-A\r\nBcc": "evil@example.org"},
    ),
    row("header: an empty name", refused("Names of headers that are not names"), extra_headers={"": "a"}),
    row("header: List-Unsubscribe", extra_headers={"List-Unsubscribe": "<https://example.org/u?t=" + "x" * 90 + ">"}),
    row("header: List-Unsubscribe-Post", extra_headers={"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}),
    row("header: List-Id with a name", extra_headers={"List-Id": "News <news.example.org>"}),
    row("header: X-SMTPAPI", extra_headers={"X-SMTPAPI": '{"category": ["a", "b"], "unique_args": {"id": "7"}}'}),
    row(
        "header: X-SMTPAPI, accents",
        sends(headers=[("x-smtpapi", '{"category": "Gr\\u00f6\\u00dfe"}')]),
        extra_headers={"X-SMTPAPI": '{"category": "Größe"}'},
    ),
    row("header: X-Mailgun-Variables", extra_headers={"X-Mailgun-Variables": '{"id": 7}'}),
    row("header: X-PM-Tag", extra_headers={"X-PM-Tag": "welcome"}),
    row("header: Feedback-ID", extra_headers={"Feedback-ID": "a:b:c:d"}),
    row("header: Precedence", extra_headers={"Precedence": "bulk"}),
    row("header: X-Priority", extra_headers={"X-Priority": "1"}),
    row("header: Importance", extra_headers={"Importance": "high"}),
    row("header: In-Reply-To", extra_headers={"In-Reply-To": "<a@example.org>"}),
    row("header: References", extra_headers={"References": "<a@example.org> <b@example.org>"}),
    row("header: References, folded", extra_headers={"References": "<a@example.org>\r\n <b@example.org>"}),
    row(
        "header: In-Reply-To, empty",
        differs("Empty headers for programs are left out", headers=[]),
        extra_headers={"In-Reply-To": ""},
    ),
    row("header: Auto-Submitted", extra_headers={"Auto-Submitted": "auto-replied"}),
    row("header: Sender", extra_headers={"Sender": "Robot <robot@example.com>"}),
    row("header: Reply-To", extra_headers={"Reply-To": "help@example.com"}),
    row("header: Reply-To, several", extra_headers={"Reply-To": "Help <help@example.com>, more@example.com"}),
    row(
        "header: Reply-To beside reply_to",
        differs("A header given replaces the usual one", reply_to=[("", "b@example.com")]),
        reply_to="a@example.com",
        extra_headers={"Reply-To": "b@example.com"},
    ),
    row("header: Return-Path", extra_headers={"Return-Path": "bounce@example.com"}),
    row("header: Errors-To", extra_headers={"Errors-To": "bounce@example.com"}),
    row("header: Disposition-Notification-To", extra_headers={"Disposition-Notification-To": "Ann <ann@example.com>"}),
    row("header: Bcc", refused("Headers that the message has already"), extra_headers={"Bcc": "evil@example.org"}),
    row("header: To", refused("Headers that the message has already"), extra_headers={"To": "bob@example.org"}),
    row("header: Subject", refused("Headers that the message has already"), extra_headers={"Subject": "Other"}),
    row("header: From", refused("Headers that the message has already"), extra_headers={"From": "bob@example.org"}),
    row(
        "header: Content-Type",
        refused("Headers that the message has already"),
        extra_headers={"Content-Type": "text/html"},
    ),
    row("header: MIME-Version", refused("Headers that the message has already"), extra_headers={"MIME-Version": "1.0"}),
    row("header: Content-Language", extra_headers={"Content-Language": "de"}),
    row(
        "header: Date",
        differs("A header given replaces the usual one", date=1767225600),
        extra_headers={"Date": "Thu, 01 Jan 2026 00:00:00 +0000"},
    ),
    row("header: Date, nonsense", refused("A date that is not one"), extra_headers={"Date": "yesterday"}),
    row("header: Message-ID", extra_headers={"Message-ID": "<mine@example.com>"}),
    row("msgId: set", then=lambda message: setattr(message, "msgId", "<mine@example.com>")),
    row(
        "msgId: set beside the header",
        differs("A header given replaces the usual one", message_id=["<mine@example.com>"]),
        then=lambda message: setattr(message, "msgId", "<mine-too@example.com>"),
        extra_headers={"Message-ID": "<mine@example.com>"},
    ),
    row("header: pairs", sends(headers=[("x-campaign", "7")]), extra_headers=[("X-Campaign", "7")]),
    row("header: Received", extra_headers={"Received": "from a by b; Thu, 01 Jan 2026 00:00:00 +0000"}),
    row("header: User-Agent", extra_headers={"User-Agent": "Shop/1.0"}),
    row(
        "header: Organization",
        sends(headers=[("organization", "Größe GmbH")]),
        extra_headers={"Organization": "Größe GmbH"},
    ),
    row("header: X-Mailer", extra_headers={"X-Mailer": "Shop (1.0)"}),
]

CONFIGURATIONS: list[Row] = [
    row("mail_options: BODY", mail_options=["BODY=8BITMIME"]),
    row("mail_options: SMTPUTF8", mail_options=["SMTPUTF8"]),
    row("mail_options: a line break", mail_options=["BODY=8BITMIME\r\nRCPT TO:<evil@example.org>"]),
    row("rcpt_options: NOTIFY", rcpt_options=["NOTIFY=SUCCESS"]),
    row("config: MAIL_MAX_EMAILS", config={"MAIL_MAX_EMAILS": 1}),
    row("config: MAIL_SUPPRESS_SEND", sends(), config={"MAIL_SUPPRESS_SEND": True}),
    row("config: MAIL_DEBUG", config={"MAIL_DEBUG": 0}),
    row("config: an unused default", config={"MAIL_DEFAULT_SENDER": ("Größe", "x@example.com")}),
    row(
        "config: a default sender that is several",
        refused("Several addresses in one string"),
        sender=NOTHING,
        config={"MAIL_DEFAULT_SENDER": SEVERAL["commas"]},
    ),
    row(
        "config: a default sender that is no address",
        refused("What is not an address"),
        sender=NOTHING,
        config={"MAIL_DEFAULT_SENDER": "shop"},
    ),
]
