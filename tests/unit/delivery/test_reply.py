"""What is read from a reply: enhanced code, the relay's id, how long to wait; and what is made of hostile text."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outbox.delivery.reply import MAX_TEXT, parse_reply, printable, relay_id, retry_after
from outbox.delivery.retry_after import LONGEST, seconds_to_wait
from tests.unit.worker.waits import NOT_WAITS, WAITS

fuzzed = settings(max_examples=int(os.environ.get("OUTBOX_EXAMPLES", "100")))


@pytest.mark.parametrize(
    ("code", "raw", "enhanced", "text"),
    [
        (550, b"5.1.1 User unknown", "5.1.1", "User unknown"),
        (550, b"5.1.1", "5.1.1", ""),
        (550, b"", None, ""),
        (550, b"#5.1.0 Address rejected.", "5.1.0", "Address rejected."),
        (550, b"5.7.1: no", "5.7.1", "no"),
        (550, b"5.2.251 throttled", "5.2.251", "throttled"),
        (
            550,
            b"5.1.1 The account\n5.1.1 does not exist.\n5.1.1  https://example.org",
            "5.1.1",
            "The account does not exist. https://example.org",
        ),
        (550, b"5.1.1.1 no", None, "5.1.1.1 no"),
        (550, b"2.1.1 no", None, "2.1.1 no"),
        (250, b"5.1.1 yes", None, "5.1.1 yes"),
        (450, b"5.1.1 the two disagree", "5.1.1", "the two disagree"),
        (550, b"192.0.2.1 is listed", None, "192.0.2.1 is listed"),
        (550, "größer".encode(), None, "größer"),
        (550, b"gr\xf6\xdfer", None, "gr\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}er"),
        (550, b"a\x1b[31mb\x00\tc", None, r"a\x1b[31mb\x00\tc"),
    ],
)
def test_parse_reply(code: int, raw: bytes, enhanced: str | None, text: str) -> None:
    """One line, decoded; the enhanced code apart, and only if it belongs to the code's class."""
    reply = parse_reply(code, raw)
    assert (reply.code, reply.enhanced, reply.text) == (code, enhanced, text)


def test_a_reply_as_a_string() -> None:
    """As the server would have said it in one line."""
    assert str(parse_reply(550, b"5.1.1 User unknown")) == "550 5.1.1 User unknown"
    assert str(parse_reply(250, b"")) == "250"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"2.0.0 Ok: queued as 4XyZ1k2bQz", "4XyZ1k2bQz"),
        (b"OK id=1rKxyz-0001Ab-2c", "1rKxyz-0001Ab-2c"),
        (
            b"Ok 0100018c1f2e3d4c-abcdef01-2345-6789-abcd-ef0123456789-000000",
            "0100018c1f2e3d4c-abcdef01-2345-6789-abcd-ef0123456789-000000",
        ),
        (
            b"2.0.0 OK  1699999999 d2e1a72fcca58-6c8f0e1b2a3sm123456b3a.12 - gsmtp",
            "1699999999 d2e1a72fcca58-6c8f0e1b2a3sm123456b3a.12",
        ),
        (
            b"2.6.0 <x@example.org> [InternalId=74908764733, Hostname=A.EXAMPLE] 9 bytes Queued mail for delivery",
            "74908764733",
        ),
        (b"2.0.0 3AB12cd4012345 Message accepted for delivery", "3AB12cd4012345"),
        (b"ok 1699999999 qp 12345", "1699999999 qp 12345"),
        (b"Ok: queued as <f3e2@sendgrid>", "f3e2"),
        (b"49a3999c-0ce1-4ea6-ab68-afcd6dc2e794", "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"),
        (b"2.0.0 Ok", None),
        (b"Great success", None),
        (b"", None),
    ],
)
def test_relay_id(raw: bytes, found: str | None) -> None:
    """The id under which bounces and the relay's own logs know the mail."""
    assert relay_id(parse_reply(250, raw)) == found


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        (b"4.2.0 Greylisted, please try again in 300 seconds", 300),
        (b"try again in 5 minutes", 300),
        (b"Try again after 1 hour", 3600),
        (b"please retry in 90s", 90),
        (b"come back in 00:04:59", 299),
        (b"Try again later (30 sec)", 30),
        (b"wait 2 min.", 120),
        (b"try again in 9999 hours", 86400),
        (b"try again later", None),
        (b"5.1.1 User unknown 42 seconds ago", None),
        (b"", None),
    ],
)
def test_retry_after(raw: bytes, seconds: float | None) -> None:
    """Seconds, a day at most."""
    assert retry_after(parse_reply(450, raw)) == seconds


@pytest.mark.parametrize(("text", "seconds", "_source"), WAITS)
def test_what_servers_say_about_waiting_is_read(text: str, seconds: float, _source: str) -> None:
    """Whatever the words: numbers, units, sums, ranges; a day at most."""
    assert retry_after(parse_reply(450, text.encode())) == seconds


@pytest.mark.parametrize(("text", "_source"), NOT_WAITS)
def test_what_is_not_a_wait_is_not_read(text: str, _source: str) -> None:
    """Times of day, times that have passed, limits, sizes, ids, addresses, digits of other scripts."""
    assert retry_after(parse_reply(450, text.encode())) is None


PHRASES = ["try again in", "Greylisted for", "Retry-After:", "wait", "deferred for", "come back in", "remaining", "ago"]
UNITS = [
    "s",
    "sec",
    "min",
    "m",
    "hours",
    "h",
    "d",
    "day",
    "week",
    "an",
    "one",
    "half an",
    "ms",
    "MB",
    "UTC",
    ":",
    ",",
    "-",
]
ODD = ["\u017f", "\u00b2", "\u0665", "\u2167", "\u212a", "12:30:00", "00:04:59", "9" * 400, "1e5", "nan", "inf", "0"]
WORDS = st.sampled_from(PHRASES + UNITS + ODD)


@fuzzed
@given(st.one_of(st.text(), st.lists(st.one_of(WORDS, st.integers(0, 10**9).map(str))).map(" ".join)))
@example("try again in 5 \u017f")
@example("try again in 1\u0665 \u017f")
@example("wait " + "9" * 4400 + " weeks")
def test_no_words_break_the_reading(text: str) -> None:
    """Any text at all: seconds within a day, or nothing."""
    seconds = seconds_to_wait(text)
    assert seconds is None or 0 <= seconds <= LONGEST


@fuzzed
@given(st.integers(0, 86_400), st.sampled_from(["try again in {}", "Greylisted for {}", "wait {}.", "{} remaining"]))
def test_however_a_wait_is_written_it_is_the_same(seconds: int, asked: str) -> None:
    """300 seconds, 5 minutes, 5m0s, 00:05:00: one wait."""
    minutes, rest = divmod(seconds, 60)
    hours, of_hour = divmod(minutes, 60)
    for written in (
        f"{seconds} seconds",
        f"{seconds}s",
        f"{minutes} minutes, {rest} seconds",
        f"{hours}h{of_hour}m{rest}s",
        f"{hours} hours {of_hour} minutes and {rest} secs",
    ):
        assert seconds_to_wait(asked.format(written)) == seconds
    assert seconds_to_wait(f"come back in {hours:02}:{of_hour:02}:{rest:02}") == seconds


@fuzzed
@given(st.binary(max_size=3000), st.integers(200, 599))
def test_whatever_a_server_says_can_be_shown(raw: bytes, code: int) -> None:
    """Any bytes make one printable line of bounded length, and nothing is raised."""
    reply = parse_reply(code, raw)
    assert reply.text.isprintable()
    assert len(reply.text) <= MAX_TEXT
    assert len(relay_id(reply) or "") <= 200
    assert 0 <= (retry_after(reply) or 0) <= 86400


def test_what_is_cut_says_so() -> None:
    """An ellipsis stands for what was cut off."""
    assert printable("x" * 5000) == "x" * (MAX_TEXT - 1) + "…"
    assert printable("\0" * 999).endswith("…")
