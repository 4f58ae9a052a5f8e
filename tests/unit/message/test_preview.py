"""What an admin sees of stored bytes, sound or damaged."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import flask_mail
import pytest

from outbox.extension.draft import draft_of
from outbox.message.compose import compose
from outbox.message.preview import Preview, attachment, preview

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


@pytest.fixture(scope="module")
def wire() -> bytes:
    """A mail with everything: text, HTML, an inline image, attachments, a forwarded mail."""
    message = flask_mail.Message(
        "Grüße\U0001f600",
        ["Jörg <joerg@faß.de>"],
        sender="shop@example.com",
        body="Text ä\nzwei",
        html='<p>ä <img src="cid:logo%40x"><img src="cid:other"></p>',
        bcc=["secret@example.org"],
    )
    message.attach("logo.png", "image/png", PNG, "inline", {"Content-ID": "<logo@x>"})
    message.attach("Übersicht.pdf", "application/pdf", b"%PDF" * 5000)
    message.attach("mail.eml", "message/rfc822", b"Subject: x\n\nbody\n")
    message.attach("notes.txt", "text/plain", "not the text")
    return compose(
        draft_of(message),
        default_sender=None,
        now=datetime(2026, 11, 22, tzinfo=UTC),
        max_bytes=10**7,
        unique="ab" * 16,
    ).wire()


def test_one_attachment_alone(wire: bytes) -> None:
    """Each place in the list of attachments has that attachment; beyond it there is none."""
    listed = preview(wire).attachments
    found = [attachment(wire, number) for number in range(len(listed))]
    assert [(name, kind, len(data)) for name, kind, data in found] == listed  # type: ignore[misc]
    assert found[0] == ("logo.png", "image/png", PNG)
    assert found[1] == ("Übersicht.pdf", "application/pdf", b"%PDF" * 5000)
    assert (attachment(wire, len(listed)), attachment(wire, -1)) == (None, None)


def test_a_mail_is_taken_apart(wire: bytes) -> None:
    """Headers decoded, the texts, and every attachment with its decoded size."""
    found = preview(wire)
    headers = dict(found.headers)
    assert headers["Subject"] == "Grüße\U0001f600"
    assert headers["To"] == "Jörg <joerg@xn--fa-hia.de>"
    assert "secret" not in str(found.headers)
    assert found.text == "Text ä\nzwei"
    assert found.html == '<p>ä <img src="cid:logo%40x"><img src="cid:other"></p>'
    assert found.attachments == [
        ("logo.png", "image/png", len(PNG)),
        ("Übersicht.pdf", "application/pdf", 20_000),
        ("mail.eml", "message/rfc822", 17),
        ("notes.txt", "text/plain", 12),
    ]


def test_inline_images_become_data_urls_on_request(wire: bytes) -> None:
    """Those that are there; the others stay, and nothing is fetched."""
    html = preview(wire, inline_images=True).html
    assert html is not None
    assert 'src="data:image/png;base64,iVBORw0KGgo' in html
    assert 'src="cid:other"' in html


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\r\n",
        b"no header at all",
        b"Content-Type: text/plain; charset=\0\r\n\r\nx",
        b"Content-Type: text/plain; charset=no-such\r\n\r\nx",
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xff\xfe",
        b"Content-Type: multipart/mixed\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a",
        b"Content-Transfer-Encoding: base64\r\n\r\n====\xff",
        b"Subject: =?utf-8?b?A?= \xff\xfe\r\nFrom: <<<@\r\nTo: a@[\r\nMessage-ID: <[\r\n\r\nx",
        b"Content-Disposition: attachment; filename*0*=x'y'%; filename*1=\r\n\r\nx",
    ],
)
def test_damaged_bytes_are_shown_as_far_as_can_be(damaged: bytes) -> None:
    """No exception, and what comes out can be encoded again."""
    found = preview(damaged, inline_images=True)
    _assert_can_be_shown(found)


def test_random_damage_never_raises(wire: bytes) -> None:
    """Bytes changed, cut out, put in, and copied around."""
    chance = random.Random(7)
    for _ in range(300):
        damaged = bytearray(wire)
        for _ in range(chance.randrange(30)):
            at, other = chance.randrange(len(damaged)), chance.randrange(len(damaged))
            match chance.randrange(4):
                case 0:
                    damaged[at] = chance.randrange(256)
                case 1:
                    del damaged[at : at + chance.randrange(40)]
                case 2:
                    damaged[at:at] = chance.randbytes(3)
                case _:
                    damaged[at:at] = damaged[other : other + chance.randrange(80)]
        _assert_can_be_shown(preview(bytes(damaged), inline_images=True))


def _assert_can_be_shown(found: Preview) -> None:
    texts = [found.text or "", found.html or "", *(text for header in found.headers for text in header)]
    for text in [*texts, *(filename or "" for filename, _, _ in found.attachments)]:
        text.encode()
