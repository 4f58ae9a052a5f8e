"""Whose fault a refusal is, as the replies to many deliveries say together."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from outbox.delivery.evidence import CERTAIN, PASSED_SECONDS, REMEMBERED, Blamed, Offer, Refusals, Scope, Scopes
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict

_numbers = itertools.count(1)


def result(
    verdict: Verdict,
    phase: Phase,
    code: int | None,
    about: About | None = None,
    *,
    enhanced: str | None = None,
    text: str = "text",
) -> Result:
    """A result with the parts that are looked at."""
    return Result(verdict, phase, Reply(code, enhanced, text), 0.1, about=about)


DENIED = result(Verdict.PERMANENT, Phase.RCPT, 554, enhanced="5.7.1")
RATE = result(Verdict.TRANSPORT, Phase.RCPT, 450, None, enhanced="4.7.1", text="rate limit")
OF_THE_ACCOUNT = result(
    Verdict.TRANSPORT, Phase.RCPT, 450, About.ACCOUNT, enhanced="4.7.1", text="Number messages per hour exceeded"
)
NOT_ALLOWED = result(Verdict.CONFIGURATION, Phase.MAIL, 550, About.SENDER, enhanced="5.7.60")


def offer(recipient: str = "r@one.example", sender: str = "a@ours.example", began: float = 0.0) -> Offer:
    """A new delivery, offered."""
    return Offer(next(_numbers), sender, recipient, began)


class TestRefusals:
    """What every message meets."""

    def refuse(self, refusals: Refusals, count: int, said: Result = DENIED, domains: int = 3) -> list[tuple[int, ...]]:
        """So many deliveries refused alike; what was found at each."""
        return [refusals.refused(offer(f"r@d{n % domains}.example"), said) for n in range(count)]

    def test_so_many_refused_alike_are_every_messages(self) -> None:
        """The last one tells, and names all of them; then the count begins anew."""
        refusals = Refusals(5)
        offers = [offer(f"r@d{n % 3}.example") for n in range(5)]
        assert [refusals.refused(one, DENIED) for one in offers[:4]] == [()] * 4
        assert refusals.refused(offers[4], DENIED) == tuple(one.delivery for one in offers)
        assert not any(self.refuse(refusals, 4))

    def test_one_delivery_is_one_however_often_it_is_refused(self) -> None:
        """Nothing is judged on the evidence of one delivery offered again and again."""
        refusals, one = Refusals(3, various=1), offer()
        assert not any(refusals.refused(one, DENIED) for _ in range(20))

    def test_fewer_than_three_domains_may_be_their_own_fault(self) -> None:
        """However many they are, until a third domain is refused."""
        refusals = Refusals(5)
        assert not any(self.refuse(refusals, 20, domains=2))
        assert len(refusals.refused(offer("r@third.example"), DENIED)) == 21

    def test_an_accepted_message_clears_them(self) -> None:
        """What was refused before was refused for its own sake."""
        refusals = Refusals(5)
        self.refuse(refusals, 4)
        refusals.accepted()
        assert not any(self.refuse(refusals, 4))

    def test_another_code_or_phase_is_another_refusal(self) -> None:
        """They are counted apart."""
        refusals = Refusals(5)
        self.refuse(refusals, 4)
        self.refuse(refusals, 4, result(Verdict.PERMANENT, Phase.RCPT, 550))
        assert not any(self.refuse(refusals, 4, result(Verdict.PERMANENT, Phase.DOT, 554)))
        assert len(refusals.refused(offer(), DENIED)) == 5

    @pytest.mark.parametrize(
        "own",
        [
            result(Verdict.PERMANENT, Phase.RCPT, 550, enhanced="5.1.1"),
            result(Verdict.PERMANENT, Phase.RCPT, 552, enhanced="5.2.2"),
            result(Verdict.TRANSIENT, Phase.RCPT, 450, enhanced="4.1.8"),
            result(Verdict.TRANSIENT, Phase.RCPT, 450, enhanced="4.2.0"),
            result(Verdict.TRANSIENT, Phase.DOT, 451, About.RECIPIENT),
        ],
    )
    def test_recipients_own_refusals_do_not_count(self, own: Result) -> None:
        """5.1.x and 5.2.x at RCPT, the same as 4.x, and what speaks of the recipient."""
        assert not any(self.refuse(Refusals(5), 50, own))

    @pytest.mark.parametrize(
        "other",
        [
            result(Verdict.TRANSPORT, Phase.MAIL, 454, About.ACCOUNT),
            result(Verdict.CONFIGURATION, Phase.MAIL, 530, About.RELAY),
            result(Verdict.UNKNOWN, Phase.DOT, None),
            result(Verdict.PERMANENT, Phase.LOCAL, 554),
            result(Verdict.TRANSIENT, Phase.GREETING, 421),
        ],
    )
    def test_only_refusals_of_messages_count(self, other: Result) -> None:
        """Not what the breaker judges by itself, nor what never reached the relay."""
        assert not any(self.refuse(Refusals(5), 50, other))

    def test_a_code_of_the_recipients_elsewhere_than_at_rcpt_counts(self) -> None:
        """After the content, 5.2.0 may be said of any message."""
        assert any(self.refuse(Refusals(5), 5, result(Verdict.PERMANENT, Phase.DOT, 554, enhanced="5.2.0")))

    def test_zero_is_never(self) -> None:
        """The setting that turns it off."""
        assert not any(self.refuse(Refusals(0), 50))

    def test_only_so_many_are_remembered(self) -> None:
        """Those of one domain may be without end."""
        refusals = Refusals(5)
        self.refuse(refusals, REMEMBERED + 50, domains=1)
        refusals.refused(offer("r@second.example"), DENIED)
        assert len(refusals.refused(offer("r@third.example"), DENIED)) <= REMEMBERED + 1


class TestScopes:
    """The sender or domain that is refused while others pass."""

    def named(self, said: Result, sender: str = "bad@ours.example") -> list[Blamed]:
        """One refusal of a sender after another's mail has passed."""
        scopes = Scopes()
        scopes.accepted(offer(sender="good@ours.example"))
        return scopes.refused(offer("r@two.example", sender, began=1.0), said)

    def test_a_reply_that_names_the_sender_is_believed_once_another_passed(self) -> None:
        """One refusal is enough, and its words are kept."""
        (blamed,) = self.named(NOT_ALLOWED)
        assert blamed == Blamed(Scope(About.SENDER, "bad@ours.example"), "550 5.7.60 text")

    def test_it_is_not_believed_while_nothing_else_passes(self) -> None:
        """It may be said of every sender; the acceptance of another's later is the proof."""
        scopes = Scopes()
        assert scopes.refused(offer(sender="bad@ours.example"), NOT_ALLOWED) == []
        (blamed,) = scopes.accepted(offer(sender="good@ours.example", began=1.0))
        assert blamed.scope == Scope(About.SENDER, "bad@ours.example")

    def test_an_old_acceptance_proves_nothing(self) -> None:
        """The account may have been limited since."""
        scopes = Scopes()
        scopes.accepted(offer(sender="good@ours.example"))
        late = offer(sender="bad@ours.example", began=PASSED_SECONDS + 1)
        assert scopes.refused(late, NOT_ALLOWED) == []

    def test_a_name_is_not_believed_of_a_sender_that_has_passed(self) -> None:
        """The words may mean another From in the content, or the recipient: only several deliveries tell."""
        scopes = Scopes()
        scopes.accepted(offer(sender="good@ours.example"))
        scopes.accepted(offer(sender="bad@ours.example"))
        for number in range(CERTAIN - 1):
            assert scopes.refused(offer(f"r@d{number}.example", "bad@ours.example", 1.0), NOT_ALLOWED) == []
        assert scopes.refused(offer("r@d9.example", "bad@ours.example", 1.0), NOT_ALLOWED) == []
        assert scopes.accepted(offer(sender="good@ours.example", began=2.0))

    def test_at_rcpt_a_name_is_believed_only_with_the_address(self) -> None:
        """A relay may speak there of the recipient as "address is not verified"."""
        said = "Email address is not verified"
        at_rcpt = result(Verdict.CONFIGURATION, Phase.RCPT, 554, About.SENDER, text=said)
        assert self.named(at_rcpt) == []
        with_it = result(Verdict.CONFIGURATION, Phase.RCPT, 554, About.SENDER, text=f"{said}: BAD@ours.example")
        assert [one.scope.about for one in self.named(with_it)] == [About.SENDER]

    def test_a_quota_is_no_scopes_fault_while_nothing_passes(self) -> None:
        """However many are refused."""
        scopes = Scopes()
        assert not any(scopes.refused(offer(f"r@d{n % 5}.example", f"s{n % 3}@ours.example"), RATE) for n in range(30))

    def test_a_sender_refused_in_many_domains_while_others_pass_is_to_blame(self) -> None:
        """Three deliveries make it certain, with another sender's that passed since the first."""
        scopes = Scopes()
        for number in range(CERTAIN - 1):
            scopes.refused(offer(f"r@d{number}.example", "bad@ours.example", 1.0), RATE)
        assert scopes.accepted(offer(sender="good@ours.example", began=2.0)) == []
        (blamed,) = scopes.refused(offer("r@d9.example", "bad@ours.example", 3.0), RATE)
        assert blamed.scope == Scope(About.SENDER, "bad@ours.example")

    def test_an_acceptance_from_before_the_first_refusal_proves_nothing_of_a_rate(self) -> None:
        """The limit may have been reached in between."""
        scopes = Scopes()
        scopes.accepted(offer(sender="good@ours.example", began=0.5))
        found = [scopes.refused(offer(f"r@d{n}.example", "bad@ours.example", 1.0), RATE) for n in range(9)]
        assert not any(found)

    def test_what_passes_is_no_longer_held_against(self) -> None:
        """Refusals before an acceptance of the same scope count no more."""
        scopes = Scopes()
        for number in range(CERTAIN - 1):
            scopes.refused(offer(f"r@d{number}.example", "bad@ours.example", 1.0), RATE)
        scopes.accepted(offer(sender="bad@ours.example", began=2.0))
        scopes.accepted(offer(sender="good@ours.example", began=2.0))
        assert scopes.refused(offer("r@d9.example", "bad@ours.example", 3.0), RATE) == []

    def test_a_domain_refused_from_many_senders_while_others_pass_is_to_blame(self) -> None:
        """And none of the senders."""
        scopes = Scopes()
        for number in range(CERTAIN):
            assert scopes.refused(offer("r@slow.example", f"s{number}@ours.example", 1.0), RATE) == []
        (blamed,) = scopes.accepted(offer("r@fast.example", "good@ours.example", 2.0))
        assert blamed.scope == Scope(About.DOMAIN, "slow.example")

    def test_a_domain_is_told_from_two_senders_that_pass_elsewhere(self) -> None:
        """A burst of refusals in one domain makes no sender guilty who has passed lately."""
        scopes, found = Scopes(), []
        for sender in ("a@ours.example", "b@ours.example"):
            found += scopes.accepted(offer("r@fast.example", sender, 0.5))
        for number in range(2 * CERTAIN):
            found += scopes.refused(offer("r@slow.example", f"{'ab'[number % 2]}@ours.example", 1.0), RATE)
        for sender in ("a@ours.example", "b@ours.example"):
            found += scopes.accepted(offer("r@fast.example", sender, 2.0))
        assert [one.scope for one in found] == [Scope(About.DOMAIN, "slow.example")]

    def test_one_senders_burst_in_one_domain_is_the_domains_once_it_passes_elsewhere(self) -> None:
        """An application has one sender, as a rule."""
        scopes = Scopes()
        for _ in range(CERTAIN):
            assert scopes.refused(offer("r@slow.example", began=1.0), RATE) == []
        (blamed,) = scopes.accepted(offer("r@fast.example", began=2.0))
        assert blamed.scope == Scope(About.DOMAIN, "slow.example")

    def test_a_sender_refused_where_others_pass_is_to_blame_though_it_is_one_domain(self) -> None:
        """The domain is free of it: mail of others was taken there since."""
        scopes = Scopes()
        for _ in range(CERTAIN):
            scopes.refused(offer("r@one.example", "bad@ours.example", 1.0), RATE)
        (blamed,) = scopes.accepted(offer("r@one.example", "good@ours.example", 2.0))
        assert blamed.scope == Scope(About.SENDER, "bad@ours.example")

    def test_a_sender_that_never_passed_is_to_blame_though_it_is_one_domain(self) -> None:
        """It can't be told from the domain: the pause of the sender holds what is known to be refused."""
        scopes = Scopes()
        for _ in range(CERTAIN):
            scopes.refused(offer("r@one.example", "bad@ours.example", 1.0), RATE)
        (blamed,) = scopes.accepted(offer("r@two.example", "good@ours.example", 2.0))
        assert blamed.scope == Scope(About.SENDER, "bad@ours.example")

    def test_a_sender_that_is_to_blame_makes_no_domain_guilty(self) -> None:
        """What was under way of it when it was paused is no witness against those it wrote to."""
        scopes = Scopes()
        for number in range(CERTAIN):
            scopes.refused(offer(f"r@d{number}.example", "bad@ours.example", 1.0), RATE)
        assert scopes.accepted(offer("r@two.example", "good@ours.example", 2.0))
        for _ in range(CERTAIN - 1):  # fewer than would blame it once more
            scopes.refused(offer("r@d0.example", "bad@ours.example", 1.5), RATE)
        assert scopes.accepted(offer("r@two.example", "good@ours.example", 3.0)) == []

    def test_what_names_the_sender_is_no_domains(self) -> None:
        """However many senders are named in one domain."""
        scopes, named = Scopes(), result(Verdict.CONFIGURATION, Phase.RCPT, 550, About.SENDER)
        for number in range(9):
            scopes.refused(offer("r@one.example", f"s{number}@ours.example", 1.0), named)
        assert scopes.accepted(offer("r@two.example", "good@ours.example", 2.0)) == []

    def test_only_so_many_scopes_are_remembered(self) -> None:
        """The oldest is forgotten."""
        scopes = Scopes()
        for number in range(REMEMBERED + 50):
            scopes.refused(offer(sender=f"s{number}@ours.example"), NOT_ALLOWED)
        assert len(scopes.accepted(offer(sender="good@ours.example", began=1.0))) == REMEMBERED

    def test_a_senders_own_acceptance_is_no_others(self) -> None:
        """Though what is refused after it had begun before."""
        scopes = Scopes()
        scopes.accepted(offer(sender="bad@ours.example", began=2.0))
        assert not any(scopes.refused(offer(f"r@d{n}.example", "bad@ours.example", 1.0), RATE) for n in range(9))

    def test_a_reply_about_the_account_names_nobody(self) -> None:
        """One is not enough, though another sender has just passed."""
        assert self.named(result(Verdict.TRANSPORT, Phase.MAIL, 454, About.ACCOUNT)) == []

    def test_a_domain_that_is_to_blame_makes_no_sender_guilty(self) -> None:
        """What was under way to it when it was paused counts against nobody, until it passes again."""
        scopes = Scopes()
        for number in range(CERTAIN):
            scopes.refused(offer("r@slow.example", f"s{number}@ours.example", 1.0), RATE)
        assert scopes.accepted(offer("r@fast.example", "good@ours.example", 2.0))
        for _ in range(CERTAIN):
            assert scopes.refused(offer("r@slow.example", "new@ours.example", 1.5), RATE) == []
        assert scopes.accepted(offer("r@fast.example", "good@ours.example", 3.0)) == []
        scopes.accepted(offer("r@slow.example", "good@ours.example", 4.0))
        for _ in range(CERTAIN):
            scopes.refused(offer("r@slow.example", "worst@ours.example", 5.0), RATE)
        found = scopes.accepted(offer("r@slow.example", "good@ours.example", 6.0))
        assert [one.scope.value for one in found] == ["worst@ours.example"]

    @pytest.mark.parametrize("about", [About.RECIPIENT, About.MESSAGE])
    def test_what_is_about_one_delivery_is_nobody_elses(self, about: About) -> None:
        """Neither of a sender nor of a domain."""
        scopes, own = Scopes(), result(Verdict.CONFIGURATION, Phase.RCPT, 550, about)
        for number in range(9):
            scopes.refused(offer("r@one.example", f"s{number % 2}@ours.example", 1.0), own)
        assert scopes.accepted(offer("r@two.example", "good@ours.example", 2.0)) == []

    def test_a_refusal_at_mail_is_no_domains(self) -> None:
        """The relay does not know the recipient yet."""
        scopes, at_mail = Scopes(), result(Verdict.TRANSPORT, Phase.MAIL, 450, About.ACCOUNT)
        for number in range(9):
            scopes.refused(offer("r@one.example", f"s{number}@ours.example", 1.0), at_mail)
        found = scopes.accepted(offer("r@two.example", "good@ours.example", 2.0))
        assert not [one for one in found if one.scope.about is About.DOMAIN]

    def test_the_null_sender_is_nobody(self) -> None:
        """ "<>" can't be paused: what it sends are bounces of anybody."""
        scopes = Scopes()
        scopes.accepted(offer(sender="good@ours.example"))
        assert scopes.refused(offer(sender="", began=1.0), NOT_ALLOWED) == []

    def test_a_blamed_scope_is_named_once(self) -> None:
        """Until it is refused again, when whoever paused it finds that it is paused."""
        scopes = Scopes()
        scopes.refused(offer(sender="bad@ours.example"), NOT_ALLOWED)
        assert scopes.accepted(offer(sender="good@ours.example", began=1.0))
        assert scopes.accepted(offer(sender="good@ours.example", began=2.0)) == []

    def test_a_rate_of_the_account_pauses_neither_sender_nor_domain(self) -> None:
        """It may be over by the time that others pass, or the same sender; and used up again a moment later."""
        scopes = Scopes()
        for number in range(CERTAIN):
            minute = 60.0 * number
            assert scopes.refused(offer("r@slow.example", "app@ours.example", minute + 1.0), OF_THE_ACCOUNT) == []
            assert scopes.accepted(offer("r@fast.example", "good@ours.example", minute + 2.0)) == []
            assert scopes.accepted(offer("r@fast.example", "app@ours.example", minute + 3.0)) == []
            assert scopes.refused(offer("r@slow.example", "app@ours.example", minute + 4.0), OF_THE_ACCOUNT) == []

    def test_a_domain_refused_and_its_sender_accepted_elsewhere_by_turns_is_to_blame(self) -> None:
        """Twice in less time than a rate of the sender or the account needs to be over, used up, and over again."""
        scopes = Scopes()
        for number in range(CERTAIN):
            assert scopes.refused(offer("r@slow.example", "app@ours.example", 1.0 + number), OF_THE_ACCOUNT) == []
        assert scopes.accepted(offer("r@fast.example", "app@ours.example", 4.0)) == []
        assert scopes.refused(offer("r@slow.example", "app@ours.example", 5.0), OF_THE_ACCOUNT) == []
        (blamed,) = scopes.accepted(offer("r@fast.example", "app@ours.example", 6.0))
        assert (blamed.scope.about, blamed.scope.value) == (About.DOMAIN, "slow.example")

    def test_a_domain_by_turns_is_not_to_blame_before_so_many_deliveries_were_refused(self) -> None:
        """One or two may be refused for their own sake. The next tells, if it is refused at once."""
        scopes, first = Scopes(), offer("r@slow.example", "app@ours.example", 1.0)
        for began in (1.0, 3.0):
            assert scopes.refused(replace(first, began=began), OF_THE_ACCOUNT) == []
            assert scopes.accepted(offer("r@fast.example", "app@ours.example", began + 1.0)) == []
        assert scopes.refused(offer("r@slow.example", "app@ours.example", 5.0), OF_THE_ACCOUNT) == []
        assert scopes.refused(offer("r@slow.example", "app@ours.example", 6.0), OF_THE_ACCOUNT)

    def test_turns_of_two_senders_that_pass_elsewhere_are_the_domains_too(self) -> None:
        """No account's rate, for it would be over twice; and no sender's, for two were refused here and not there."""
        scopes, app, other = Scopes(), "app@ours.example", "other@ours.example"
        for began, sender in ((1.0, app), (3.0, other)):
            assert scopes.refused(offer("r@slow.example", sender, began), OF_THE_ACCOUNT) == []
            assert scopes.accepted(offer("r@fast.example", sender, began + 1.0)) == []
        (blamed,) = scopes.refused(offer("r@slow.example", app, 5.0), OF_THE_ACCOUNT)
        assert blamed.scope == Scope(About.DOMAIN, "slow.example")

    def test_turns_long_apart_are_a_rate(self) -> None:
        """Of several senders, as of one."""
        scopes = Scopes()
        for number in range(3 * CERTAIN):
            began, sender = 60.0 * number, ("app@ours.example", "other@ours.example")[number % 2]
            assert scopes.refused(offer("r@slow.example", sender, began), OF_THE_ACCOUNT) == []
            assert scopes.accepted(offer("r@fast.example", sender, began + 1.0)) == []
            assert scopes.accepted(offer("r@fast.example", "good@ours.example", began + 2.0)) == []

    def test_an_acceptance_of_another_sender_is_no_turn(self) -> None:
        """A rate of one sender is over for no other."""
        scopes = Scopes()
        for number in range(2 * CERTAIN):
            assert scopes.refused(offer("r@slow.example", "app@ours.example", 2.0 * number), OF_THE_ACCOUNT) == []
            assert scopes.accepted(offer("r@fast.example", "good@ours.example", 2.0 * number + 1.0)) == []

    def test_another_senders_acceptance_in_the_domain_acquits_it(self) -> None:
        """What comes between the turns begins them anew."""
        scopes = Scopes()
        for number in range(2 * CERTAIN):
            assert scopes.refused(offer("r@slow.example", "app@ours.example", 4.0 * number), OF_THE_ACCOUNT) == []
            assert scopes.accepted(offer("r@fast.example", "app@ours.example", 4.0 * number + 1.0)) == []
            assert scopes.accepted(offer("r@slow.example", "good@ours.example", 4.0 * number + 2.0)) == []

    def test_what_was_under_way_at_once_came_in_no_order(self) -> None:
        """An acceptance that began before the refusal was known may have used up the rate, not found it over."""
        scopes = Scopes()
        for number in range(CERTAIN):
            began = 2.0 * number
            refused = offer("r@slow.example", "app@ours.example", began)
            assert scopes.refused(replace(refused, ended=began + 1.0), OF_THE_ACCOUNT) == []
            accepted = offer("r@fast.example", "app@ours.example", began + 0.9)
            assert scopes.accepted(replace(accepted, ended=began + 1.9)) == []
