"""Several recipients of one message in one transaction: each has its own reply to RCPT, and they share the content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from outbox.delivery.reply import Phase, Result, Verdict
from outbox.settings.relay import Relay
from outbox.smtp.connection import Connection
from outbox.smtp.learned import VALID_SECONDS, Learned, Sharing
from tests.wire.actions import CLOSE, SILENCE, Action, Both, Choice, Raw, Take, turns
from tests.wire.conftest import CONTENT, envelope, once_reached
from tests.wire.server import EXTENSIONS, Client, SmtpServer
from tests.wire.test_verdict_table import PATIENT, cells

Connect = Callable[..., Connection]

ONE_BY_ONE = tuple(one for one in EXTENSIONS if one != "PIPELINING")
BOTH_WAYS = pytest.mark.parametrize("extensions", [EXTENSIONS, ONE_BY_ONE], ids=["pipelined", "one by one"])

ACCEPTED, TRANSIENT, PERMANENT = Verdict.ACCEPTED, Verdict.TRANSIENT, Verdict.PERMANENT


def to(count: int) -> list[str]:
    """Recipients."""
    return [f"r{number}@example.net" for number in range(count)]


def only(recipient: str, action: Action) -> Callable[[Client], Action | None]:
    """That action at the RCPT of one recipient."""
    return lambda client: action if f"<{recipient}>" in client.line else None


def verdicts(results: list[Result | None]) -> list[Verdict | None]:
    """Of each."""
    return [result and result.verdict for result in results]


@BOTH_WAYS
@pytest.mark.parametrize("count", [2, 50])
def test_the_content_goes_once(count: int, extensions: tuple[str, ...], connect: Connect) -> None:
    """One MAIL, one DATA, one reply to the dot, which is that of all; and the next message goes over the connection."""
    with SmtpServer(extensions=extensions) as server:
        connection = connect(server.relay())
        asked: list[list[int]] = []
        results = connection.deliver_together(
            envelope(), to(count), CONTENT, before_dot=lambda accepted: not asked.append([*accepted])
        )
        assert verdicts(results) == [ACCEPTED] * count
        assert len({result.relay_id for result in results if result}) == 1
        assert asked == [[*range(count)]]
        assert [mail.rcpt for mail in server.messages] == to(count)
        assert {mail.content for mail in server.messages} == {CONTENT}
        assert connection.deliver(envelope(), CONTENT).verdict is ACCEPTED
        assert server.steps["data"] == 2
        assert (server.connections, server.ahead) == (1, [])


@BOTH_WAYS
def test_each_has_its_own_reply_to_rcpt(extensions: tuple[str, ...], connect: Connect) -> None:
    """Those that are refused get the reply, the others the message; `before_dot` is asked for these."""
    refusals = {"r1@example.net": "550 5.1.1 no such user", "r3@example.net": "451 4.2.1 later"}

    def rcpt(client: Client) -> str | None:
        return refusals.get(client.line.partition("<")[2].rstrip(">"))

    with SmtpServer({"rcpt": rcpt}, extensions=extensions) as server:
        connection = connect(server.relay())
        asked: list[list[int]] = []
        results = connection.deliver_together(
            envelope(), to(5), CONTENT, before_dot=lambda accepted: not asked.append([*accepted])
        )
        assert verdicts(results) == [ACCEPTED, PERMANENT, ACCEPTED, TRANSIENT, ACCEPTED]
        assert asked == [[0, 2, 4]]
        assert [mail.rcpt for mail in server.messages] == ["r0@example.net", "r2@example.net", "r4@example.net"]
        assert connection.deliver(envelope(), CONTENT).verdict is ACCEPTED
        assert (server.connections, server.steps["rset"]) == (1, 0)


@BOTH_WAYS
def test_nothing_is_sent_where_all_are_refused(extensions: tuple[str, ...], connect: Connect) -> None:
    """No content, no question before the dot, and the connection is used again after RSET."""
    with SmtpServer({"rcpt": turns(*["550 5.1.1 no such user"] * 3)}, extensions=extensions) as server:
        connection = connect(server.relay())
        results = connection.deliver_together(envelope(), to(3), CONTENT, before_dot=lambda _: 1 / 0 > 0)
        assert verdicts(results) == [PERMANENT] * 3
        assert connection.deliver(envelope(), CONTENT).verdict is ACCEPTED
        assert len(server.messages) == 1
        assert (server.connections, server.steps["rset"]) == (1, 1)


@BOTH_WAYS
@pytest.mark.parametrize("action", ["421 4.3.2 closing", CLOSE])
def test_a_session_that_ends_at_one_says_nothing_of_the_others(
    action: Action, extensions: tuple[str, ...], connect: Connect
) -> None:
    """The one that met it has the result; the rest was not offered, and none of it is at the relay."""
    with SmtpServer({"rcpt": only("r1@example.net", action)}, extensions=extensions) as server:
        connection = connect(server.relay())
        results = connection.deliver_together(envelope(), to(3), CONTENT)
        assert verdicts(results) == [None, Verdict.TRANSPORT, None]
        assert [one and one.phase for one in results] == [None, Phase.RCPT, None]
        assert server.messages == []
        server.script.clear()
        results = connection.deliver_together(envelope(), ["r0@example.net", "r2@example.net"], CONTENT)
        assert verdicts(results) == [ACCEPTED] * 2


@pytest.mark.parametrize("step", ["greeting", "ehlo", "mail"])
def test_one_meets_what_comes_before_a_reply_to_mail(step: str, connect: Connect) -> None:
    """A relay that can't be used costs one of them an attempt; the others were not offered."""
    with SmtpServer({step: CLOSE}) as server:
        results = connect(server.relay()).deliver_together(envelope(), to(3), CONTENT)
        assert verdicts(results) == [Verdict.TRANSPORT, None, None]


def test_a_refused_sender_is_refused_for_all(connect: Connect) -> None:
    """The reply to MAIL is that of all."""
    with SmtpServer({"mail": "550 5.1.8 bad sender"}) as server:
        results = connect(server.relay()).deliver_together(envelope(), to(3), CONTENT)
        assert [(one.verdict, one.phase) for one in results if one] == [(PERMANENT, Phase.MAIL)] * 3


def test_one_that_fits_no_command_spoils_no_other(connect: Connect) -> None:
    """An address with a line feed fails by itself."""
    with SmtpServer() as server:
        recipients = ["a@example.net", "b@example.net>\r\nRSET", "c@example.net"]
        asked: list[list[int]] = []
        results = connect(server.relay()).deliver_together(
            envelope(), recipients, CONTENT, before_dot=lambda accepted: not asked.append([*accepted])
        )
        assert verdicts(results) == [ACCEPTED, PERMANENT, ACCEPTED]
        assert asked == [[0, 2]]
        assert [mail.rcpt for mail in server.messages] == ["a@example.net", "c@example.net"]


TOO_MANY = [
    "452 4.5.3 Too many recipients",
    "452 Too many recipients",
    "552 5.5.3 Too many recipients",
    "451 4.5.3 Error: too many recipients",
    "452-4.5.3 Your message has too many recipients. For more information\n4.5.3 see the documentation",
]


@BOTH_WAYS
@pytest.mark.parametrize("words", TOO_MANY)
def test_too_many_recipients_split_and_are_learnt(words: str, extensions: tuple[str, ...], connect: Connect) -> None:
    """What is over the relay's limit waits for the next transaction, and none is larger from then on."""
    learned = Learned()
    with SmtpServer(
        {"rcpt": lambda client: words if len(client.recipients) == 2 else None}, extensions=extensions
    ) as server:
        connection = connect(server.relay(), learned=learned)
        assert connection.most_recipients == 50
        results = connection.deliver_together(envelope(), to(5), CONTENT)
        assert verdicts(results) == [ACCEPTED] * 2 + [None] * 3
        assert connection.most_recipients == 2
        results = connection.deliver_together(envelope(), to(5)[2:], CONTENT)
        assert verdicts(results) == [ACCEPTED] * 2 + [None]
        assert server.steps["rcpt"] == 5 + 2


def test_a_limit_for_one_alone_is_its_own(connect: Connect) -> None:
    """Refused as the first, it is not about how many they are."""
    with SmtpServer({"rcpt": turns(TOO_MANY[0])}) as server:
        connection = connect(server.relay())
        results = connection.deliver_together(envelope(), to(1), CONTENT)
        assert verdicts(results) == [TRANSIENT]
        assert connection.most_recipients == 50


def test_several_domains_split_and_are_learnt(connect: Connect) -> None:
    """A relay that takes one domain in a transaction gets one."""
    recipients = ["a@one.example", "b@two.example", "c@one.example", "d@two.example"]

    def rcpt(client: Client) -> str | None:
        words = "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again."
        return words if client.recipients and client.recipients[0][1:] != client.line.rstrip(">")[-12:] else None

    with SmtpServer({"rcpt": rcpt}) as server:
        connection = connect(server.relay())
        results = connection.deliver_together(envelope(), recipients, CONTENT)
        assert verdicts(results) == [ACCEPTED, None, ACCEPTED, None]
        results = connection.deliver_together(envelope(), [*recipients[1::2], "e@one.example"], CONTENT)
        assert verdicts(results) == [ACCEPTED, ACCEPTED, None]
        assert server.steps["rcpt"] == 4 + 2


@pytest.mark.parametrize(
    ("limits", "first"),
    [("RCPTMAX=2", 2), ("MAILMAX=9 rcptmax=3", 3), ("RCPTMAX=0", 5), ("RCPTMAX=x", 5), ("RCPTDOMAINMAX=1", 4)],
)
def test_announced_limits_are_kept(limits: str, first: int, connect: Connect) -> None:
    """LIMITS (RFC 9422), from the first transaction on."""
    with SmtpServer(extensions=(*EXTENSIONS, f"LIMITS {limits}")) as server:
        connection = connect(server.relay())
        recipients = [*to(4), "e@example.com"]
        results = connection.deliver_together(envelope(), recipients, CONTENT)
        assert verdicts(results) == [ACCEPTED] * first + [None] * (5 - first)


def test_what_was_learnt_is_forgotten_in_time() -> None:
    """The relay's configuration may have changed."""
    learned = Learned()
    learned.announced(20, None)
    learned.too_many("relay", Sharing(recipients=10), 1.0)
    learned.too_many("relay", Sharing(domains=1), 2.0)
    learned.too_many("relay", Sharing(recipients=15), 3.0)
    assert learned.sharing(3.0) == Sharing(10, 1)
    assert learned.sharing(3.0 + VALID_SECONDS + 1) == Sharing(20)


def test_the_setting_and_a_header_for_each_delivery_forbid_sharing(connect: Connect) -> None:
    """One recipient each, where that is wanted or the content differs."""
    assert connect(Relay(max_recipients=1)).most_recipients == 1
    assert connect(Relay(idempotency_header="Idempotency-Key")).most_recipients == 1
    assert connect(Relay()).most_recipients == 50


def test_a_limit_of_the_session_makes_a_fresh_one(connect: Connect) -> None:
    """All of them go over a fresh connection, if nothing was sent yet; else those that are left over."""
    words = "452 4.5.3 Number of recipients per session reached"
    taken: list[int] = []

    def rcpt(client: Client) -> str | None:
        taken.append(client.number)
        return words if taken.count(client.number) > 4 else None

    with SmtpServer({"rcpt": rcpt}) as server:
        connection = connect(server.relay())
        assert verdicts(connection.deliver_together(envelope(), to(3), CONTENT)) == [ACCEPTED] * 3
        assert verdicts(connection.deliver_together(envelope(), to(3), CONTENT)) == [ACCEPTED, None, None]
        assert verdicts(connection.deliver_together(envelope(), to(2), CONTENT)) == [ACCEPTED] * 2
        assert server.connections == 2
        assert connection.most_recipients == 50


def test_lmtp_has_a_reply_for_each_after_the_dot(connect: Connect) -> None:
    """RFC 2033: one for each recipient that was accepted, in their order."""
    replies = Take(Raw(b"250 2.1.5 ok\r\n452 4.2.2 mailbox full\r\n550-5.2.1 no\r\n550 5.2.1 more\r\n"))
    script: dict[str, Choice] = {"rcpt": only("r1@example.net", "550 5.1.1 no such user"), "dot": replies}
    with SmtpServer(script) as server:
        connection = connect(server.relay(protocol="lmtp"))
        results = connection.deliver_together(envelope(), to(4), CONTENT)
        assert verdicts(results) == [ACCEPTED, PERMANENT, TRANSIENT, PERMANENT]
        assert [one and one.phase for one in results] == [Phase.DOT, Phase.RCPT, Phase.DOT, Phase.DOT]
        server.script.clear()
        assert verdicts(connection.deliver_together(envelope(), to(1), CONTENT)) == [ACCEPTED]
        assert server.connections == 1


def test_lmtp_that_breaks_off_leaves_the_rest_unknown(connect: Connect) -> None:
    """What was answered counts."""
    with SmtpServer({"dot": Take(Both(Raw(b"250 ok\r\n452 4.2.2 full\r\n"), CLOSE))}) as server:
        results = connect(server.relay(protocol="lmtp")).deliver_together(envelope(), to(4), CONTENT)
        assert verdicts(results) == [ACCEPTED, TRANSIENT, Verdict.UNKNOWN, Verdict.UNKNOWN]
    with SmtpServer({"dot": Take(Both(Raw(b"250 ok\r\n"), SILENCE))}) as server:
        connection = connect(server.relay(protocol="lmtp", dot_timeout=0.5))
        results = connection.deliver_together(envelope(), to(3), CONTENT)
        assert verdicts(results) == [ACCEPTED, Verdict.UNKNOWN, Verdict.UNKNOWN]
        assert not connection.is_open


def test_no_before_the_dot_is_no_for_all(connect: Connect) -> None:
    """The relay has no message, and what was refused before stays refused."""
    with SmtpServer({"rcpt": only("r1@example.net", "550 5.1.1 no such user")}) as server:
        results = connect(server.relay()).deliver_together(envelope(), to(3), CONTENT, before_dot=lambda _: False)
        assert [(one.verdict, one.phase) for one in results if one] == [
            (Verdict.TRANSPORT, Phase.BODY),
            (PERMANENT, Phase.RCPT),
            (Verdict.TRANSPORT, Phase.BODY),
        ]
        server.wait_until(lambda: server.unfinished)
        assert server.messages == []


def _of_a_group() -> list[Any]:
    """The cells from MAIL on, each for 2 recipients and for 50. Few of them are run each time."""
    found, often = [], {"rcpt 550 5.1.1 pipelined", "rcpt close pipelined", "rcpt code 199 one by one", "dot close"}
    often |= {"dot 554 5.6.0 one by one", "data 451 pipelined", "mail 421 pipelined"}
    for cell in cells():
        settings, script, phase, verdict = cell.values
        if phase in {Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT}:
            for count in (2, 50):
                if count == 50 and "reset" in cell.id:  # it takes replies along: which recipient meets it is chance
                    continue
                marks = () if cell.id in often else (pytest.mark.long,)
                found.append(
                    pytest.param(settings, script, phase, verdict, count, id=f"{cell.id} {count}", marks=marks)
                )
    return found


@pytest.mark.parametrize(("settings", "script", "phase", "verdict", "count"), _of_a_group())
def test_cell(
    settings: dict[str, Any], script: dict[str, Any], phase: Phase, verdict: Verdict, count: int, connect: Connect
) -> None:
    """At RCPT the one in the middle meets it; elsewhere all of them do, or one for the others."""
    met = count // 2
    (action,) = script.values()
    planned = {"rcpt": only(f"r{met}@example.net", action)} if phase is Phase.RCPT else script
    with SmtpServer(planned, **settings) as server:
        body = CONTENT if phase is not Phase.BODY else CONTENT + b"x" * 70 + (b"\r\n" + b"y" * 70) * 100_000 + b"\r\n"
        results: list[Result | None] = []

        def attempt(seconds: float) -> Result:
            limits = {"send_timeout": seconds, "dot_timeout": seconds, "command_timeout": seconds}
            results[:] = connect(server.relay(**limits)).deliver_together(envelope(size=0), to(count), body)
            return next(one for one in results if one)

        if action in (SILENCE, Take(SILENCE)):
            once_reached(server, next(iter(script)), 0.4, attempt)
        else:
            attempt(PATIENT)
        if phase is Phase.RCPT:
            told = results.pop(met)
            too_many = told is None
            assert too_many is ("4.5.3" in str(action) or "Too many" in str(action))
            assert told is None or (told.verdict, told.phase) == (verdict, phase)
            goes_on = too_many or (told is not None and told.reply.code in {*range(400, 600)} - {421})
            assert verdicts(results) == [ACCEPTED if goes_on else None] * (count - 1)
            assert len(server.messages) == (count - 1 if goes_on else 0)
            return
        told = results[0]
        assert told is not None
        assert (told.verdict, told.phase) == (verdict, phase)
        alone = phase is Phase.MAIL and told.reply.code is None
        assert results == [told, *([None] * (count - 1) if alone else [told] * (count - 1))]
        assert len(server.messages) == (count if isinstance(action, Take) else 0)
