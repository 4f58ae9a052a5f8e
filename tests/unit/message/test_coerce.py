"""What callers put into a message: proxies, lazy strings, paths, lists of all sorts."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import flask_mail
import pytest
from werkzeug.local import LocalProxy

from outbox.core.errors import AddressError, MessageError, MissingFieldError
from outbox.extension.flask_mail import recipients_of, split_addresses
from outbox.message.coerce import file_name, is_empty, items_of, plain, text_of
from tests.flask.comparison.lazy import BabelString, SpeakString
from tests.unit.message.composing import attachment_of, composed_of, message_of, read
from tests.unit.message.composing import text_of as body_of


def unbound() -> Any:
    """What a proxy to a request raises outside of one."""
    raise RuntimeError("Working outside of request context.")


class Closed:
    """A proxy of a caller's own that raises as soon as it is asked what it stands for."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise LookupError("closed")

    def __str__(self) -> str:
        raise LookupError("closed")


@pytest.mark.parametrize("make", [LocalProxy, BabelString, SpeakString])
def test_a_lazy_string_is_its_text(make: Any) -> None:
    """In every place of a message, and the result is exactly `str`."""
    assert type(text_of(make(lambda: "Grüße"), "subject")) is str
    message = message_of(
        make(lambda: "Grüße"),
        [make(lambda: "ann@example.org"), (make(lambda: "Jörg"), make(lambda: "joerg@example.org"))],
        make(lambda: "Text"),
        make(lambda: "<p>HTML</p>"),
        sender=make(lambda: "Shop <shop@example.com>"),
        reply_to=make(lambda: "help@example.com"),
        charset=make(lambda: "utf-8"),
        extra_headers={make(lambda: "X-Campaign"): make(lambda: "7")},
        mail_options=[make(lambda: "RET=HDRS")],
    )
    message.attachments = [flask_mail.Attachment("a", "text/plain", "x")]
    message.attachments[0].filename = make(lambda: "a.txt")
    message.attachments[0].data = str(make(lambda: "data")) if make is BabelString else make(lambda: "data")
    composed = composed_of(message)
    parsed = read(composed)
    assert (parsed["Subject"], parsed["From"]) == ("Grüße", "Shop <shop@example.com>")
    assert parsed["To"] == "ann@example.org, Jörg <joerg@example.org>"
    assert (parsed["Reply-To"], parsed["X-Campaign"]) == ("help@example.com", "7")
    assert (body_of(parsed, "plain").strip(), body_of(parsed, "html").strip()) == ("Text", "<p>HTML</p>")
    assert attachment_of(parsed).get_filename() == "a.txt"
    assert attachment_of(parsed).get_content().strip() == "data"


def test_a_proxy_stands_for_its_value() -> None:
    """Bytes, numbers, lists, pairs, None, and whole messages and attachments."""
    message = message_of(body="Text", date=LocalProxy(lambda: 0.0), sender=LocalProxy(lambda: ("Shop", "a@b.c")))
    message.recipients = LocalProxy(lambda: [LocalProxy(lambda: ("Ann", "ann@example.org"))])
    message.extra_headers = LocalProxy(lambda: {"X-Campaign": "7"})
    message.attachments = [LocalProxy(lambda: flask_mail.Attachment("a.pdf", data=LocalProxy(lambda: b"%PDF")))]
    parsed = read(composed_of(LocalProxy(lambda: message)))
    assert (parsed["From"], parsed["To"]) == ("Shop <a@b.c>", "Ann <ann@example.org>")
    assert parsed["Date"].datetime.year == 1970
    assert parsed["X-Campaign"] == "7"
    assert attachment_of(parsed).get_content() == b"%PDF"


def test_a_proxy_of_none_is_nothing() -> None:
    """As None itself is."""
    assert is_empty(LocalProxy(lambda: None))
    assert plain(LocalProxy(lambda: None), "sender") is None
    message = message_of(sender="a@b.c", reply_to=LocalProxy(lambda: None))
    assert "Reply-To" not in read(composed_of(message))


@pytest.mark.parametrize(
    "field", ["subject", "body", "sender", "reply_to", "recipients", "extra_headers", "date", "alts"]
)
@pytest.mark.parametrize("make", [lambda: LocalProxy(unbound), Closed], ids=["unbound", "closed"])
def test_a_proxy_that_stands_for_nothing_is_refused(make: Any, field: str) -> None:
    """As outside a request: with the field, and the proxy's own error as the cause."""
    message = message_of()
    setattr(message, field, make())
    with pytest.raises(MessageError) as caught:
        composed_of(message)
    assert caught.value.field == field


def test_of_a_path_only_the_last_part_is_sent() -> None:
    """The server's folders are nobody's business."""
    assert file_name(Path("/srv/app/secret/report.pdf"), "filename") == "report.pdf"
    assert file_name(PurePosixPath("report.pdf"), "filename") == "report.pdf"
    message = message_of()
    message.attach(Path("/srv/app/secret/Übersicht.pdf"), data=b"%PDF")  # type: ignore[arg-type]
    composed = composed_of(message)
    assert attachment_of(read(composed)).get_filename() == "Übersicht.pdf"
    assert b"secret" not in composed.wire()


def test_items_of_a_proxy() -> None:
    """A list behind a proxy is a list, a string behind one is not."""
    assert items_of(LocalProxy(lambda: ["a", "b"]), "cc") == ["a", "b"]
    with pytest.raises(MessageError, match=r"^cc: is of type str"):
        items_of(LocalProxy(lambda: "a@b.c"), "cc")


@pytest.mark.parametrize(
    ("to", "recipients"),
    [
        ("a@b.c", ["a@b.c"]),
        (LocalProxy(lambda: "a@b.c"), ["a@b.c"]),
        (("Ann", "a@b.c"), [("Ann", "a@b.c")]),
        ([None, "a@b.c"], [(None, "a@b.c")]),
        (["a@b.c", "d@e.f"], ["a@b.c", "d@e.f"]),
        (("a@b.c", "d@e.f"), ["a@b.c", "d@e.f"]),
        ([("Ann", "a@b.c"), "d@e.f"], [("Ann", "a@b.c"), "d@e.f"]),
        ((address for address in ["a@b.c"]), ["a@b.c"]),
    ],
)
def test_who_an_email_goes_to(to: Any, recipients: list[Any]) -> None:
    """`send_email` takes an address, a pair, or several of these."""
    assert recipients_of(to) == recipients


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("", []),
        (" ", []),
        ("ann@example.org", ["ann@example.org"]),
        ('"Doe, Ann" <ann@example.org>, bob@example.org', ['"Doe, Ann" <ann@example.org>', "bob@example.org"]),
    ],
)
def test_addresses_in_a_setting(text: str, addresses: list[str]) -> None:
    """Where an environment variable can hold no list."""
    assert split_addresses(text) == addresses


@pytest.mark.parametrize(
    "text",
    ["ann", "ann@example.org; bob@example.org", "ann@example.org bob@example.org", "ann@example.org,", "ann@, bob@b.c"],
)
def test_anything_else_in_a_setting_is_refused(text: str) -> None:
    """Nothing is dropped, and nothing is guessed."""
    with pytest.raises(AddressError, match=r"^FLASKY_ADMIN: "):
        split_addresses(text, "FLASKY_ADMIN")


@pytest.mark.parametrize("to", [None, "", [], (), LocalProxy(lambda: None)])
def test_an_email_to_nobody_is_refused(to: Any) -> None:
    """With the name of the argument."""
    with pytest.raises(MissingFieldError, match=r"^to: is (None|empty)\. Give an address"):
        recipients_of(to)
