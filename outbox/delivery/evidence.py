"""What the replies to many deliveries say together: whose fault a refusal is, which no single reply tells. Pure.

`Refusals` finds what every message meets, `Scopes` the sender or the domain that is refused while others pass.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from outbox.core.value import value
from outbox.delivery.alternation import Alternation
from outbox.delivery.breaker import IN_TRANSACTION
from outbox.delivery.reply import About, Phase, Result, Verdict

REMEMBERED = 500
"""At most this many scopes, and deliveries of one refusal, are remembered."""

PASSED_SECONDS = 300.0
"""How long an accepted message proves that the relay takes mail of other senders."""

CERTAIN = 3
"""Deliveries of one sender or domain refused while others pass, from which on it is the sender's or domain's fault."""

_OWN_FAULT = frozenset({About.RECIPIENT, About.MESSAGE, About.SENDER, About.DOMAIN})
_OWN = ("4.1.", "4.2.", "5.1.", "5.2.")  # enhanced codes at RCPT that speak of the recipient (RFC 3463 §3.2, §3.3)


@value(frozen=True, slots=True)
class Offer:
    """A delivery as it was offered to the relay."""

    delivery: int
    sender: str  # of the envelope
    recipient: str
    began: float = 0.0  # monotonic seconds
    message: int = 0  # the message of which it is one delivery; 0: of its own
    ended: float = 0.0  # monotonic seconds: when the outcome was known; 0: at once

    @property
    def domain(self) -> str:
        """The recipient's domain."""
        return self.recipient.rpartition("@")[2]

    @property
    def known(self) -> float:
        """When its outcome was known, in monotonic seconds."""
        return max(self.began, self.ended)


class Scope(NamedTuple):
    """A sender's address or a recipient's domain."""

    about: About  # SENDER or DOMAIN
    value: str


@dataclass(frozen=True, slots=True)
class Blamed:
    """A scope that the relay refuses while it takes other mail, and the words of the last refusal."""

    scope: Scope
    reply: str
    others: frozenset[str] = field(default=frozenset(), compare=False)  # a sender's domains, a domain's senders


def is_recipients_own(result: Result) -> bool:
    """Whether a refusal is about nobody but the recipient."""
    if result.about is About.RECIPIENT:
        return True
    return result.phase is Phase.RCPT and (result.reply.enhanced or "").startswith(_OWN)


class Refusals:
    """The refusals since the last accepted message, by what was said where."""

    def __init__(self, most: int, various: int = 3) -> None:
        """`most`: as many deliveries refused alike, of at least `various` messages to as many domains, are refused for
        the relay's sake; 0: never."""
        self._most = most
        self._various = various
        self._seen: dict[tuple[Phase, int], dict[int, tuple[str, int]]] = {}  # (domain, message) by delivery

    @property
    def is_suspicious(self) -> bool:
        """Whether so many were refused alike that what other workers saw may make it enough."""
        return bool(self._most) and any(3 * len(alike) >= self._most for alike in self._seen.values())

    def accepted(self) -> None:
        """A message went through: what was refused before was refused for its own sake."""
        self._seen.clear()

    def refused(self, offer: Offer, result: Result) -> tuple[int, ...]:
        """The deliveries that were refused alike, this one among them, once they are too many; else none."""
        code = result.reply.code
        counts = result.verdict in {Verdict.TRANSIENT, Verdict.PERMANENT} and result.phase in IN_TRANSACTION
        if not self._most or not counts or code is None or result.about in _OWN_FAULT or is_recipients_own(result):
            return ()
        alike = self._seen.setdefault((result.phase, code), {})
        alike[offer.delivery] = offer.domain, offer.message or offer.delivery
        domains, messages = (len(set(of)) for of in zip(*alike.values(), strict=True))
        if len(alike) < self._most or min(domains, messages) < self._various:
            if len(alike) > REMEMBERED:
                del alike[next(iter(alike))]
            return ()
        self._seen.clear()
        return tuple(alike)


@dataclass(slots=True)
class _Totals:
    """What is held against one scope since it last passed."""

    first: float  # monotonic seconds: when the first of them began
    named: bool = False  # a reply said that it is about such a scope
    deliveries: set[int] = field(default_factory=set)
    others: set[str] = field(default_factory=set)  # of a sender the domains, of a domain the senders
    reply: str = ""
    by_account: Alternation | None = None  # the words speak of the account


class Scopes:
    """Who was refused for the account's sake, and who passed meanwhile."""

    def __init__(self) -> None:
        self._totals: OrderedDict[Scope, _Totals] = OrderedDict()
        self._guilty: OrderedDict[Scope, None] = OrderedDict()  # blamed, and not passed since
        self._passed: OrderedDict[Scope, float] = OrderedDict()  # when what was accepted last had begun

    def accepted(self, offer: Offer) -> list[Blamed]:
        """The scopes for whose fault this acceptance is the proof."""
        for scope in _scopes(offer):
            self._totals.pop(scope, None)
            self._guilty.pop(scope, None)
            self._passed[scope] = offer.began
            self._passed.move_to_end(scope)
        _trim(self._passed)
        if not self._totals:
            return []
        for totals in self._totals.values():
            if totals.by_account is not None:
                totals.by_account.accepted(offer.sender, offer.began, offer.known)
        return self._blamed(list(self._totals), offer.began)

    def refused(self, offer: Offer, result: Result) -> list[Blamed]:
        """The scopes whose fault is certain by now."""
        found = []
        for scope in _scopes(offer):
            if not _may_be_about(scope, result):
                continue
            totals = self._totals.setdefault(scope, _Totals(offer.began))
            self._totals.move_to_end(scope)
            totals.deliveries.add(offer.delivery)
            totals.others.add(offer.domain if scope.about is About.SENDER else offer.sender)
            totals.named |= result.about is scope.about and _is_named(offer, result)
            totals.reply = str(result.reply)
            if result.about is About.ACCOUNT:
                totals.by_account = totals.by_account or Alternation()
                totals.by_account.refused(offer.sender, offer.began, offer.known)
            found.append(scope)
        _trim(self._totals)
        _trim(self._guilty)
        return self._blamed(found, offer.began)

    def _blamed(self, scopes: list[Scope], now: float) -> list[Blamed]:
        blamed = []
        for scope in scopes:
            totals = self._totals[scope]
            if self._others_passed(scope, totals, now):
                blamed.append(Blamed(scope, totals.reply, frozenset(totals.others)))
                self._guilty[scope] = None
                del self._totals[scope]
        return blamed

    def _others_passed(self, scope: Scope, totals: _Totals, now: float) -> bool:
        if totals.by_account is not None:  # a rate may have been over by the time that others passed
            return len(totals.deliveries) >= CERTAIN and totals.by_account.is_no_rate(now)
        others = self._others(scope)
        passed_at = self._passed.get(scope)
        if totals.named and (passed_at is None or now - passed_at > PASSED_SECONDS):  # else it may be of one From only
            return any(now - at <= PASSED_SECONDS for at in others)
        certain = len(totals.deliveries) >= CERTAIN and any(at >= totals.first for at in others)
        if scope.about is About.SENDER:
            return certain and self._is_senders_own(scope, totals, now)
        return certain and self._is_domains_own(scope, totals)

    def _others(self, scope: Scope) -> list[float]:
        """When others of its kind passed."""
        return [at for other, at in self._passed.items() if other.about is scope.about and other != scope]

    def _is_senders_own(self, scope: Scope, totals: _Totals, now: float) -> bool:
        """Whether it is not rather the domain's to which it wrote: it was refused in others, or others passed there."""
        domains = [
            domain for domain in (Scope(About.DOMAIN, one) for one in totals.others) if domain not in self._guilty
        ]
        if len(domains) != 1:
            return len(domains) > 1
        if self._passed.get(domains[0], totals.first - 1) >= totals.first:
            return True
        return now - self._passed.get(scope, now - PASSED_SECONDS - 1) > PASSED_SECONDS

    def _is_domains_own(self, scope: Scope, totals: _Totals) -> bool:
        """Whether it is not rather the senders', who were refused elsewhere as well, or never sent elsewhere."""
        senders = [Scope(About.SENDER, sender) for sender in totals.others]
        held = [self._totals.get(sender) for sender in senders if sender not in self._guilty]
        return None in held or sum(one is not None and one.others == {scope.value} for one in held) > 1


def _scopes(offer: Offer) -> tuple[Scope, ...]:
    domain = Scope(About.DOMAIN, offer.domain)
    return (Scope(About.SENDER, offer.sender), domain) if offer.sender else (domain,)  # "" is the null sender, <>


def _may_be_about(scope: Scope, result: Result) -> bool:
    """A quota of the account is no sender's fault; at RCPT the words may mean the domain."""
    if result.about is About.ACCOUNT:
        return scope.about is About.DOMAIN and result.phase is Phase.RCPT
    if result.about not in {None, scope.about}:
        return False
    return scope.about is About.SENDER or result.phase is not Phase.MAIL


def _is_named(offer: Offer, result: Result) -> bool:
    """Whether the words can be trusted to mean the scope: at RCPT a relay may as well speak of the recipient."""
    return result.phase is not Phase.RCPT or offer.sender.lower() in result.reply.text.lower()


def _trim(remembered: OrderedDict[Scope, Any]) -> None:
    while len(remembered) > REMEMBERED:
        remembered.popitem(last=False)
