"""Whatever a stranger writes: events, or the one error."""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outbox.delivery.reported import ReportedEvent
from outbox.message.reports import UnreadableError, events
from tests.unit.message.reports.mails import ADDRESSES, COMPLAINT, INTERNATIONAL, QMAIL, TOKEN, TWO_FAILED, VACATION

SAMPLES = [one.encode() for one in (TWO_FAILED, COMPLAINT, INTERNATIONAL, QMAIL, VACATION)]
PIECES = (
    *(b"\n", b"\r\n\r\n", b"\r", b"\0", b"\xff\xfe", b"--", b"--b--", b";", b"<", b">", TOKEN.encode()),
    *(b"=?utf-8?b?////?=", b"=?x?q?=", b"\\x{110000}", b"\\x{d800}"),
    b"Content-Type: message/delivery-status\n\n",
    b'Content-Type: multipart/report; boundary="b"\n\n--b\n',
    b"Content-Transfer-Encoding: base64\n",
    b"Final-Recipient: rfc822; a@b\n",
    b"Action: failed\n",
    b"Status: 5.1.1\n",
    b"Date: Fri, 99 Nov 99999 99:99:99 +9999\n",
    b"Date: Mon, 01 Jan 0001 00:00:00 +2359\n",
    b"In-Reply-To: <a@b>\n",
    b"From: MAILER-DAEMON@a\n",
    b"X-Failed-Recipients: ,,a@b,\n",
    b"Diagnostic-Code: smtp; 5\n",
)

EXAMPLES = int(os.environ.get("OUTBOX_EXAMPLES", "60"))
hostile = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def check(data: bytes) -> None:
    try:
        found = events(data, ADDRESSES)
    except UnreadableError:
        return
    assert found
    for one in found:
        assert isinstance(one, ReportedEvent)
        assert len(one.event_id) <= 255
        assert one.at is None or one.at.tzinfo is not None
        assert one.recipient is None or (one.recipient.isprintable() and "@" in one.recipient)
        assert one.message_id is None or one.message_id.isprintable()
        assert one.reply is None or one.reply.text.isprintable()
    assert [one.event_id for one in events(data, ADDRESSES)] == [one.event_id for one in found]


@hostile
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=40)), max_size=30).map(b"".join))
def test_any_bytes(data: bytes) -> None:
    """Put together from what reports are made of."""
    check(data)


@hostile
@given(st.sampled_from(SAMPLES), st.integers(0, 2**32))
def test_damaged_reports(sample: bytes, seed: int) -> None:
    """Real reports with pieces cut out, doubled, moved and overwritten."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 8)):
        start = chance.randrange(len(sample) + 1)
        end = min(len(sample), start + chance.choice((1, 3, 40, 400)))
        put = chance.choice((b"", chance.choice(PIECES), sample[start:end] * 2, sample[:40]))
        sample = sample[:start] + put + sample[end:]
    check(sample)
