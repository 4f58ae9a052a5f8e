"""What a reply or a failure means for the delivery: the table phase x failure -> verdict, and the reply rules.

Pure. Before the class of a reply's code speaks, the reply rules do: quotas, throttling and account faults come as 4xx
and as 5xx after any command, and no message is at fault. Known limit: the rules rest on the words that the large
relays use today; a relay that words a quota otherwise is judged by its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from outbox.core.value import value
from outbox.delivery.presets import preset_of
from outbox.delivery.reply import About, Phase, Reply, Verdict
from outbox.delivery.reply_presets import PRESETS
from outbox.delivery.reply_rule import Rule
from outbox.delivery.reply_rules import GENERAL


class Failure(StrEnum):
    """What went wrong where no reply decides."""

    UNRESOLVED = "unresolved"  # the host's name has no address
    UNREACHABLE = "unreachable"  # no address takes the connection
    DISCONNECTED = "disconnected"  # closed, reset or a write failed
    TIMEOUT = "timeout"  # silence, or the message's deadline
    GARBAGE = "garbage"  # an invalid reply, or one that does not fit the command
    OVERSIZED = "oversized"  # a reply without end
    HANDSHAKE = "handshake"  # TLS broken off
    INJECTED = "injected"  # plain text after the reply to STARTTLS
    ABORTED = "aborted"  # by us, from another thread
    GIVEN_UP = "given up"  # by us, before the final dot
    CERTIFICATE = "certificate"  # the server's certificate does not prove its name
    OLD_TLS = "old tls"  # nothing newer than TLS 1.1
    CLIENT_CERTIFICATE = "client certificate"  # wanted of us
    NO_STARTTLS = "no starttls"  # not offered: never fall back to plain text
    NO_MECHANISM = "no mechanism"  # no common way to log in
    NO_TOKEN = "no token"  # noqa: S105 - an access token can't be had now
    TOKEN_REFUSED = "token refused"  # noqa: S105 - nor later, as it is configured
    REFUSED_HERE = "refused here"  # our own settings forbid it
    TOO_LARGE = "too large"  # over the server's SIZE (RFC 1870)
    NO_SMTPUTF8 = "no smtputf8"  # needed, not offered (RFC 6531)
    NO_8BITMIME = "no 8bitmime"  # needed, not offered (RFC 6152)
    NO_REQUIRETLS = "no requiretls"  # asked for, not offered (RFC 8689)
    OURS = "ours"  # a defect of the outbox, before a command of the message was said
    MALFORMED = "malformed"  # the envelope or the content cannot be put on the wire


@value(frozen=True, slots=True)
class Judgement:
    """A verdict and what to say beside the server's words."""

    verdict: Verdict
    note: str = ""
    about: About | None = None


_OURS = {
    Failure.CERTIFICATE: Verdict.CONFIGURATION,
    Failure.OLD_TLS: Verdict.CONFIGURATION,
    Failure.CLIENT_CERTIFICATE: Verdict.CONFIGURATION,
    Failure.NO_STARTTLS: Verdict.CONFIGURATION,
    Failure.NO_MECHANISM: Verdict.CONFIGURATION,
    Failure.TOKEN_REFUSED: Verdict.CONFIGURATION,
    Failure.REFUSED_HERE: Verdict.CONFIGURATION,
    Failure.TOO_LARGE: Verdict.PERMANENT,
    Failure.NO_SMTPUTF8: Verdict.PERMANENT,
    Failure.NO_8BITMIME: Verdict.PERMANENT,
    Failure.NO_REQUIRETLS: Verdict.PERMANENT,
    Failure.MALFORMED: Verdict.PERMANENT,
}

_BY_CLASS: dict[Phase, tuple[Verdict, Verdict]] = {  # what 4xx and 5xx mean
    Phase.GREETING: (Verdict.TRANSPORT, Verdict.TRANSPORT),
    Phase.EHLO: (Verdict.TRANSPORT, Verdict.TRANSPORT),
    Phase.TLS: (Verdict.TRANSPORT, Verdict.CONFIGURATION),
    Phase.AUTH: (Verdict.TRANSPORT, Verdict.CONFIGURATION),
    Phase.MAIL: (Verdict.TRANSIENT, Verdict.PERMANENT),
    Phase.RCPT: (Verdict.TRANSIENT, Verdict.PERMANENT),
    Phase.DATA: (Verdict.TRANSIENT, Verdict.PERMANENT),
    Phase.BODY: (Verdict.TRANSIENT, Verdict.PERMANENT),
    Phase.DOT: (Verdict.TRANSIENT, Verdict.PERMANENT),
}
_BEFORE_RULES = frozenset({Phase.GREETING, Phase.EHLO, Phase.TLS})

_OF_THE_RELAY = frozenset({Phase.EHLO, Phase.TLS, Phase.AUTH})
_BEFORE_MAIL = _OF_THE_RELAY | {Phase.RESOLVE, Phase.CONNECT, Phase.GREETING}
_OF_THE_MESSAGE = frozenset({Phase.DATA, Phase.BODY, Phase.DOT})
_NAMED = _OF_THE_MESSAGE | {Phase.RCPT}  # the one recipient of the transaction was named
_OF_THE_RECIPIENT = frozenset({"1.1", "1.2", "1.3", "1.4", "1.6", "1.10"})  # RFC 3463 §3.2, RFC 7505


def preset_for(host: str) -> str:
    """The table of reply rules that fits the relay with this host name; "generic" if none is known."""
    return preset_of("auto", host).name


def judge_failure(phase: Phase, failure: Failure) -> Judgement:
    """The verdict for a failure without a deciding reply: after the final dot nobody can know (RFC 1047)."""
    if phase is Phase.DOT:
        return Judgement(Verdict.UNKNOWN)
    verdict = _OURS.get(failure, Verdict.TRANSPORT)
    if verdict is Verdict.PERMANENT:
        return Judgement(verdict, about=About.MESSAGE)
    about = About.RELAY if phase in _BEFORE_MAIL or failure is Failure.OURS else None
    return Judgement(verdict, about=about)


def judge_reply(phase: Phase, reply: Reply, preset: str = "generic", taught: Sequence[Rule] = ()) -> Judgement:
    """The verdict for the reply that ended an attempt in `phase`. A reply that does not fit the phase is garbage.

    `taught`: rules of the configuration, which go before all others.
    """
    code = reply.code or 0
    if phase is Phase.DOT and 200 <= code < 300:
        return Judgement(Verdict.ACCEPTED)
    if not 400 <= code < 600 or phase not in _BY_CLASS:
        return judge_failure(phase, Failure.GARBAGE)
    rule = matching_rule(phase, reply, preset, taught)
    about = (rule and rule.about) or _told_by_code(phase, reply)
    if code == 421:
        return Judgement(Verdict.TRANSPORT, about=about)
    if rule is not None and rule.verdict is not None and phase not in _BEFORE_RULES:
        return Judgement(rule.verdict, rule.note, rule.about)
    return replace(_by_class(phase, code, reply), about=about)


def matching_rule(phase: Phase, reply: Reply, preset: str = "generic", taught: Sequence[Rule] = ()) -> Rule | None:
    """The first rule that fits: those of the configuration, the preset's, the general ones."""
    for rule in (*taught, *PRESETS.get(preset, ()), *GENERAL):
        if rule.fits(phase, reply):
            return rule
    return None


def _told_by_code(phase: Phase, reply: Reply) -> About | None:
    """What the codes alone say a refusal is about; None: only comparison with other deliveries can tell."""
    if phase in _OF_THE_RELAY:
        return About.RELAY
    subject = (reply.enhanced or "").partition(".")[2]
    if subject in {"1.7", "1.8"}:
        return About.SENDER
    if phase in _NAMED and (subject in _OF_THE_RECIPIENT or subject.startswith("2.")):
        return About.RECIPIENT
    if phase in _OF_THE_MESSAGE and (subject == "3.4" or subject.startswith("6.")):
        return About.MESSAGE
    if phase is Phase.MAIL and (subject == "3.4" or reply.code == 552):
        return About.MESSAGE
    return None


def _by_class(phase: Phase, code: int, reply: Reply) -> Judgement:
    transient, permanent = _BY_CLASS[phase]
    if code < 500 or (reply.enhanced or "").startswith("4."):  # where the two disagree, the more careful (retry)
        return Judgement(transient)
    if phase is Phase.MAIL:
        if code == 552 or (reply.enhanced or "").endswith(".3.4"):
            return Judgement(permanent, "the relay finds the message too large")
        return Judgement(permanent, "the relay refuses the sender's address")
    return Judgement(permanent)
