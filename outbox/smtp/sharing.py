"""Which recipients of one message share a transaction, and which refusals mean that one has to wait for the next."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from outbox.delivery.reply import About, Phase, Reply
from outbox.delivery.verdicts import Judgement
from outbox.smtp.learned import NO_LIMIT, Sharing
from outbox.smtp.session import Answer, Session

_TOO_MANY = re.compile(r"\btoo many recipients\b(?! from)", re.IGNORECASE)
_SEVERAL_DOMAINS = re.compile(
    r"\b(?:multiple|several|different|more than one) (?:destination |recipient )?domains?\b", re.IGNORECASE
)
_NOT_THE_TRANSACTION = frozenset({About.ACCOUNT, About.RELAY, About.CONNECTIONS, About.SENDER})


def domain_of(recipient: str) -> str:
    """What counts as one domain."""
    return recipient.rpartition("@")[2].lower()


def fitting(recipients: Mapping[int, str], most: Sharing) -> dict[int, str]:
    """Those that go into one transaction, by number, in order."""
    chosen: dict[int, str] = {}
    domains: set[str] = set()
    for number, recipient in recipients.items():
        if most.recipients is not None and len(chosen) >= most.recipients:
            break
        if most.domains is not None:
            domain = domain_of(recipient)
            if domain not in domains and len(domains) >= most.domains:
                continue
            domains.add(domain)
        chosen[number] = recipient
    return chosen


def left_over(
    chosen: Mapping[int, str], session: Session, judged: Callable[[Answer], tuple[Reply, Judgement]]
) -> tuple[frozenset[int], Sharing]:
    """Those whose refusal, behind others that were accepted, is about the transaction or the session, so that they may
    be accepted in the next one; and what it tells of the transactions to come."""
    if not session.accepted or len(session.accepted) == len(chosen):
        return frozenset(), NO_LIMIT
    numbers, most, last = [*chosen], NO_LIMIT, session.accepted[-1]
    left = set()
    for place, answer in enumerate(session.answers):
        if answer is None or answer.phase is not Phase.RCPT or answer.code == 421:
            continue
        reply, judgement = judged(answer)
        if judgement.about is About.SESSION:
            left.add(numbers[place])
        elif judgement.about not in _NOT_THE_TRANSACTION and _SEVERAL_DOMAINS.search(reply.text):
            left.add(numbers[place])
            most = most.within(Sharing(domains=len({domain_of(chosen[numbers[one]]) for one in session.accepted})))
        elif judgement.about not in _NOT_THE_TRANSACTION and is_too_many(reply):
            left.add(numbers[place])
            if place > last:  # what follows was accepted: it was not about their number
                most = most.within(Sharing(recipients=len(session.accepted)))
    return frozenset(left), most


def is_too_many(reply: Reply) -> bool:
    """Whether the words or the codes say that one transaction takes fewer recipients (RFC 5321 §4.5.3.1.10)."""
    return (reply.enhanced or "").endswith(".5.3") or _TOO_MANY.search(reply.text) is not None
