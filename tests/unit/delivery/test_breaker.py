"""The circuit breaker: when it opens, when it is probed, what closes it."""

from __future__ import annotations

import pytest

from outbox.delivery.breaker import LONGEST_PROBE_WAIT, SPARE_PROBES, Breaker, Cause, Health
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict


def result(
    verdict: Verdict,
    phase: Phase = Phase.AUTH,
    code: int | None = 535,
    about: About | None = None,
    wait: float | None = None,
) -> Result:
    """A result with the parts that the breaker looks at."""
    return Result(verdict, phase, Reply(code, None, "text"), 0.1, retry_after=wait, about=about)


class TestBreaker:
    """The circuit breaker, on a clock of its own."""

    fault = result(Verdict.TRANSPORT, Phase.CONNECT, None)

    def closed(self) -> Breaker:
        """One that has seen a mail go through."""
        breaker = Breaker(faults=3, first_probe=5, most=60)
        assert breaker.admit(0)
        breaker.accepted(breaker.openings)
        return breaker

    def test_it_starts_with_one_mail(self) -> None:
        """Before anything went through, one mail is offered at a time."""
        breaker = Breaker()
        assert breaker.ready(0) == 1
        assert breaker.admit(0)
        assert not breaker.admit(0)
        breaker.accepted(breaker.openings)
        assert breaker.admit(0)
        assert breaker.ready(0) is None

    def test_it_opens_after_faults_in_a_row(self) -> None:
        """A success in between starts the count anew."""
        breaker = self.closed()
        for _ in range(2):
            breaker.fault(self.fault, breaker.openings, 10, 0.5)
        breaker.accepted(breaker.openings)
        for _ in range(2):
            breaker.fault(self.fault, breaker.openings, 10, 0.5)
        assert breaker.state is Health.CLOSED
        breaker.fault(self.fault, breaker.openings, 10, 0.5)
        assert breaker.state is Health.OPEN
        assert not breaker.admit(10)

    def test_with_a_stand_in_one_connection_that_fails_is_enough(self) -> None:
        """Unless others get mail through meanwhile: then it takes several."""
        breaker = self.closed()
        breaker.has_stand_in = True
        breaker.fault(self.fault, breaker.openings, 10, 0.5)
        assert breaker.state is Health.CLOSED
        breaker.fault(self.fault, breaker.openings, 10, 0.5, silent=True)
        assert breaker.state is Health.OPEN

    @pytest.mark.parametrize(
        "fault", [result(Verdict.CONFIGURATION, Phase.AUTH, 535), result(Verdict.TRANSPORT, Phase.RCPT, 550)]
    )
    def test_a_wrong_password_or_a_quota_opens_it_at_once(self, fault: Result) -> None:
        """What will not repair itself in a second is not tried three times."""
        breaker = self.closed()
        breaker.fault(fault, breaker.openings, 10, 0.5)
        assert breaker.state is Health.OPEN
        assert breaker.error is not None
        assert "text" in breaker.error

    def test_probes_come_one_at_a_time_and_further_apart(self) -> None:
        """5, 10, 20, 40, 60, 60 … seconds, one mail each: at most ten in a minute."""
        breaker, now, gaps = self.closed(), 0.0, []
        breaker.fault(result(Verdict.CONFIGURATION), 0, now, 0.5)
        for _ in range(6):
            gaps.append(breaker.probe_at - now)
            now = breaker.probe_at
            assert breaker.admit(now)
            assert not breaker.admit(now)
            breaker.fault(self.fault, breaker.openings, now, 0.5)
        assert gaps == pytest.approx([5, 10, 20, 40, 60, 60])

    def test_a_probe_that_succeeds_closes_it(self) -> None:
        """When the server is back everything flows."""
        breaker = self.closed()
        breaker.fault(result(Verdict.CONFIGURATION), 0, 0, 0.5)
        assert breaker.admit(100)
        breaker.accepted(breaker.openings)
        assert breaker.admit(100)
        assert breaker.admit(100)
        assert breaker.healthy

    def test_a_withdrawn_probe_leaves_room_for_the_next(self) -> None:
        """A probe mail that turned out to be expired was no probe."""
        breaker = Breaker()
        assert breaker.admit(0)
        breaker.withdrawn(probe=True)
        assert breaker.admit(0)

    def test_mail_under_way_when_it_opened_does_not_lengthen_the_wait(self) -> None:
        """Thirty-two connections that fail at once are one outage."""
        breaker = self.closed()
        for _ in range(32):
            breaker.fault(self.fault, 0, 10, 0.5)
        assert breaker.probe_at == pytest.approx(15)

    def test_mail_under_way_when_it_opened_does_not_close_it(self) -> None:
        """That a mail offered before is accepted after says nothing of what is offered next: a probe tells."""
        breaker = self.closed()
        breaker.fault(result(Verdict.CONFIGURATION), 0, 10, 0.5)
        breaker.accepted(0)
        assert not breaker.admit(11)
        assert breaker.probe_at == pytest.approx(15)
        assert breaker.admit(15)
        breaker.accepted(breaker.openings)
        assert breaker.healthy

    def test_a_reply_about_the_account_is_probed_at_once_by_others(self) -> None:
        """It may be one sender's or one recipient's after all; only then the waits begin."""
        breaker, quota = self.closed(), result(Verdict.TRANSPORT, Phase.MAIL, 454, About.ACCOUNT)
        breaker.fault(quota, 0, 10, 0.5)
        for _ in range(SPARE_PROBES):
            assert breaker.admit(10)
            breaker.fault(quota, breaker.openings, 10, 0.5)
        assert not breaker.admit(10)
        assert breaker.probe_at == pytest.approx(15)

    def test_only_an_accepted_message_shows_that_a_quota_is_over(self) -> None:
        """A refused recipient does not: the quota may be said at the final dot."""
        breaker = self.closed()
        breaker.fault(result(Verdict.TRANSPORT, Phase.DOT, 454, About.ACCOUNT), 0, 10, 0.5)
        assert breaker.admit(10)
        breaker.refused(breaker.openings, 10, 0.5)
        assert breaker.cause is Cause.ACCOUNT
        assert breaker.admit(100)
        breaker.accepted(breaker.openings)
        assert breaker.healthy

    def test_a_wait_that_was_told_is_the_relays_only_if_it_speaks_of_the_account(self) -> None:
        """One recipient's "try again in 24 hours" holds nobody else back."""
        for about, wait in ((About.ACCOUNT, LONGEST_PROBE_WAIT), (None, 5.0)):
            breaker = self.closed()
            for _ in range(SPARE_PROBES + 1):
                told = result(Verdict.TRANSPORT, Phase.RCPT, 450, about, wait=86_400.0)
                breaker.fault(told, breaker.openings, 0, 0.5)
            assert breaker.probe_at == pytest.approx(wait)

    def test_one_broken_session_is_not_the_relays_fault(self) -> None:
        """From the start, too: the next delivery is offered at once."""
        breaker, broken = Breaker(faults=3), result(Verdict.TRANSPORT, Phase.DATA, None)
        assert breaker.admit(0)
        breaker.fault(broken, 0, 0, 0.5)
        assert breaker.admit(0)
        breaker.refused(0, 0, 0.5)
        assert breaker.healthy

    def test_one_delivery_that_breaks_again_and_again_opens_nothing(self) -> None:
        """It takes a second one, that broke as well."""
        breaker, broken = self.closed(), result(Verdict.TRANSPORT, Phase.DATA, None)
        for again in (False, True, True, True, True):
            breaker.fault(broken, breaker.openings, 10, 0.5, again=again, alone=True)
        assert breaker.admit(10)
        breaker.fault(broken, breaker.openings, 10, 0.5)
        assert breaker.cause is Cause.BROKEN
        assert not breaker.admit(10)

    def test_a_relay_that_is_away_is_so_for_one_delivery_too(self) -> None:
        """Where no session comes about, the delivery has no part in it."""
        breaker = self.closed()
        for again in (False, True, True):
            breaker.fault(self.fault, breaker.openings, 10, 0.5, again=again, alone=True)
        assert breaker.cause is Cause.CONNECTION

    def test_the_same_delivery_uses_up_no_probe(self) -> None:
        """The probes that follow at once are for others, which may come later."""
        breaker, quota = self.closed(), result(Verdict.TRANSPORT, Phase.MAIL, 454, About.ACCOUNT)
        breaker.fault(quota, 0, 10, 0.5, alone=True)
        for _ in range(9):
            assert breaker.admit(10)
            breaker.fault(quota, breaker.openings, 10, 0.5, again=True, alone=True)
        for _ in range(SPARE_PROBES - 1):
            assert breaker.admit(10)
            breaker.fault(quota, breaker.openings, 10, 0.5)
        assert breaker.admit(10)
        breaker.fault(quota, breaker.openings, 10, 0.5)
        assert not breaker.admit(10)

    @pytest.mark.parametrize("phase", [Phase.GREETING, Phase.DOT])
    def test_no_room_for_a_connection_is_waited_for(self, phase: Phase) -> None:
        """Told at the greeting or after the content: no probe follows at once, not even one that was to."""
        breaker = self.closed()
        quota = result(Verdict.TRANSPORT, Phase.MAIL, 454, About.ACCOUNT)
        breaker.fault(quota, breaker.openings, 10.0, 0.5)
        assert breaker.hopeful
        assert breaker.admit(10.0)
        breaker.fault(result(Verdict.TRANSPORT, phase, 432, About.CONNECTIONS), breaker.openings, 10.0, 0.5)
        assert not breaker.hopeful
        assert breaker.cause is Cause.CONNECTION
        assert breaker.ready(14.0) == 0
        assert breaker.ready(15.0) == 1
