"""Strategies for hostile mail: content that must survive, and content that must be refused."""

from __future__ import annotations

import string
from typing import Any

import flask_mail
from hypothesis import strategies as st

from outbox.message.program_headers import is_for_programs
from tests.unit.message.callers import ODD

SNIPPETS = (
    "=?utf-8?q?a=0AX:_b?=",
    "=?utf-8?b?YQ==?=",
    *",:;<>@()'\"\\.*éß😀\u202e\u00a0\u3000\ufeff\ufffd",
    *("=?", "?=", "=20", "%41", "*0*=", "utf-8''", '\\"', "://", "?a=b&c=d", "--=_1_", "日本語", "e\u0301"),
    "",
    " ",
    "  ",
    "From ",
    "a b c " * 30,
    "a" * 80,
    "é" * 90,
    "x" * 1000,
    "0123456789abcdef0123456789abcdef",
)
BREAKS = ("\r\nX: y", "\r\n y", *"\n\r\0\x0b\x0c\x1c\x1d\x1e\x1f\x7f\x85\u2028\u2029")
LOCALS = ("ann", "a.b", "a+b=c", "!#$%&'*/?=^_`{|}~-", '"a@b"', '"a\\"b"', "x" * 64, "jörg", "用户")
DOMAINS = {  # as written → as sent
    "example.org": "example.org",
    "EXAMPLE.org": "EXAMPLE.org",
    "faß.de": "xn--fa-hia.de",
    "例え.jp": "xn--r8jz45g.jp",
    "localhost": "localhost",
    f"{'a' * 63}.de": f"{'a' * 63}.de",
}
CHARSETS = (
    *(
        None,
        "utf-8",
        "iso-8859-1",
        "latin1",
        "iso-2022-jp",
        "utf-16",
        "shift_jis",
        "cp1252",
        "utf-7",
        "koi8-r",
        "cp037",
    ),
    *("hz", "gb18030", "big5", "euc-kr", "utf-8-sig", "unicode_escape", "ascii", "punycode", "utf-32", "tis-620"),
)
FIELDS = (
    *(
        "Message-ID",
        "message-id",
        "Date",
        "Reply-To",
        "Sender",
        "Bcc",
        "subject",
        "To",
        "Content-Type",
        "Auto-Submitted",
    ),
    *("References", "List-Unsubscribe", "Resent-To", "Resent-Date", "X:Y", "X Y", "", "Ä", "X-\r\nEvil", "X\n"),
)
TYPES = (
    "a",
    "a/b\r\nX: y",
    "a/b; c",
    'a/b; c="d',
    "a/b; c=d; c=e",
    "a/b;;c*=x",
    "text/plain; charset=x",
    "message/rfc822",
)

_graphic = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
clean = st.one_of(
    st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(_graphic, max_size=8)), max_size=6).map("".join),
    st.text(_graphic, max_size=150),
    st.text(string.printable[:95], max_size=150),
)
"""Text that a header may hold."""
short = clean.map(lambda text: text[:500])
body = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.one_of(st.sampled_from((*SNIPPETS, *BREAKS, "\n", "\r\n", " \n", "\t\n", "\n.\n")), clean), max_size=15
    ).map("".join),
)
"""Text that a body may hold."""
dirty = st.one_of(
    clean,
    st.tuples(short, st.sampled_from((*BREAKS, "\ud800", "\t")), short).map("".join),
    st.text(max_size=20),
    st.binary(max_size=20),
)
_values = st.sampled_from(
    [None, 5, 0.5, float("nan"), b"a@b.c", object(), ["a"], {"a": 1}, ("a",), ("a", "b", "c"), (1, 2), True]
)
_odd = st.tuples(
    st.one_of(short, st.sampled_from(["ann@example.org", "Ann <ann@example.org>"])), st.sampled_from(ODD)
).map(lambda drawn: drawn[1](drawn[0]))
wrong = st.one_of(_values, _odd)
"""What has no business in most fields, and types of callers'."""
charsets = st.sampled_from(CHARSETS)
_mailboxes = st.tuples(short, st.sampled_from(LOCALS), st.sampled_from(sorted(DOMAINS)))


@st.composite
def acceptable(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a message that must be accepted, and who must come back: {"from": [(name, address)], …}."""
    arguments: dict[str, Any] = {}
    people: dict[str, list[tuple[str, str]]] = {}
    name, local, domain = draw(_mailboxes)
    if "@" in name:  # a second address in a sender is refused
        name = "".join(character for character in name if character not in "<>,;，；、")
    name = name.replace("=", "").strip(' "')  # Flask-Mail flattens the sender into one string
    name = name if name != "None" else ""  # what it makes of no name
    arguments["sender"] = (name, f"{local}@{domain}")
    people["from"] = [(name, f"{local}@{DOMAINS[domain]}")]
    for key in ("recipients", "cc", "bcc"):
        boxes = draw(
            st.lists(
                _mailboxes, min_size=key == "recipients", max_size=3, unique_by=lambda box: (box[1], box[2].lower())
            )
        )
        arguments[key] = [(name, f"{local}@{domain}") for name, local, domain in boxes]
        people[key] = [(name, f"{local}@{DOMAINS[domain]}") for name, local, domain in boxes]
    arguments |= {"subject": draw(short), "body": draw(body), "html": draw(body), "charset": draw(charsets)}
    arguments["extra_headers"] = draw(_extra_headers)
    if draw(st.booleans()):
        arguments["extra_headers"]["List-Unsubscribe"] = draw(_urls)
    arguments["attachments"] = draw(st.lists(_attachments, max_size=3))
    return arguments, people


_urls = st.text(string.printable[:95], max_size=200).filter(lambda text: text.strip() and "=?" not in text)
_extra_headers = st.dictionaries(
    st.from_regex(r"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}", fullmatch=True).filter(
        lambda name: not is_for_programs(name.lower())  # those take ASCII alone
    ),
    clean,
    max_size=3,
)
_data = st.one_of(st.binary(max_size=300), body, st.binary(min_size=1, max_size=8).map(lambda data: data * 2000))
_attachments = st.builds(
    flask_mail.Attachment,
    st.one_of(st.none(), short),
    st.sampled_from(
        ["application/pdf", "image/png", "text/csv", 'text/plain; x="a; b"', "multipart/mixed", "TEXT/csv"]
    ),
    _data,
    st.sampled_from([None, "inline"]),
    st.sampled_from([None, {"Content-ID": "<logo>"}, {"Content-ID": "a&b%41"}, {"X-A": "é"}]),
)

_addresses = st.one_of(
    st.just("ann@example.org"),
    st.tuples(
        st.one_of(st.sampled_from(LOCALS), dirty.map(str)),
        st.one_of(st.sampled_from(sorted(DOMAINS)), dirty.map(str)),
    ).map("@".join),
    dirty,
)
anyone = st.one_of(
    _addresses,
    st.tuples(dirty, _addresses),
    st.tuples(dirty.map(str), _addresses.map(str)).map(lambda pair: f"{pair[0]} <{pair[1]}>"),
    wrong,
)
"""What somebody might give for an address."""
_field_names = st.one_of(st.sampled_from(FIELDS), dirty)


def _attachment(*values: Any) -> flask_mail.Attachment:
    """An attachment with attributes that its constructor would not take."""
    made = flask_mail.Attachment("a", "a/b", b"")
    made.filename, made.content_type, made.data, made.disposition, made.headers = values
    return made


_hostile_attachments = st.builds(
    _attachment,
    st.one_of(st.none(), dirty, wrong),
    st.one_of(st.sampled_from(TYPES), dirty, wrong),
    st.one_of(st.binary(), dirty, wrong),
    st.one_of(st.just("inline"), dirty, wrong),
    st.one_of(
        wrong, st.dictionaries(st.one_of(_field_names, st.just("Content-ID")), st.one_of(dirty, wrong), max_size=2)
    ),
)


def usually(usual: Any, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`usual` nine times of ten, so that most messages have one fault, not many that hide each other."""
    return st.integers(0, 9).flatmap(lambda number: st.just(usual) if number else strategy)


anything = st.fixed_dictionaries(
    {
        "subject": usually("s", st.one_of(dirty, wrong)),
        "recipients": usually(["ann@example.org"], st.one_of(st.lists(anyone), wrong, dirty)),
        "cc": usually([], st.one_of(st.lists(anyone), wrong)),
        "bcc": usually([], st.one_of(st.lists(anyone), wrong)),
        "sender": usually("bob@example.org", anyone),
        "reply_to": usually(None, anyone),
        "body": usually("b", st.one_of(dirty, body, wrong)),
        "alts": usually(
            {},
            st.one_of(
                wrong, st.dictionaries(st.one_of(dirty, st.just("html")), st.one_of(dirty, body, wrong), max_size=3)
            ),
        ),
        "date": usually(None, st.one_of(wrong, st.integers(), st.floats())),
        "charset": usually(None, st.one_of(dirty, charsets, wrong)),
        "extra_headers": usually(
            None, st.one_of(wrong, st.dictionaries(_field_names, st.one_of(dirty, wrong, _addresses), max_size=4))
        ),
        "mail_options": usually([], st.one_of(st.lists(dirty), wrong)),
        "rcpt_options": usually([], st.one_of(st.lists(dirty), wrong)),
        "attachments": usually([], st.one_of(st.lists(_hostile_attachments, max_size=3), wrong, st.lists(wrong))),
    }
)
"""Attributes of a message, each possibly anything."""
