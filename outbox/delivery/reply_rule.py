"""What a reply rule is: a pattern on a reply, its verdict, and what such a reply is about."""

from __future__ import annotations

import re
from dataclasses import dataclass

from outbox.delivery.reply import About, Phase, Reply, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern on a reply and its verdict. What is left empty fits everything."""

    verdict: Verdict | None  # None: stop here, the class of the code decides
    note: str
    codes: frozenset[int] = frozenset()
    enhanced: frozenset[str] = frozenset()
    text: re.Pattern[str] | None = None
    phases: frozenset[Phase] = frozenset()
    about: About | None = None  # what such a reply is about; None: the words don't tell

    def fits(self, phase: Phase, reply: Reply) -> bool:
        """Whether the rule speaks about this reply."""
        return (
            (not self.codes or reply.code in self.codes)
            and (not self.enhanced or reply.enhanced in self.enhanced)
            and (not self.phases or phase in self.phases)
            and (self.text is None or self.text.search(reply.text) is not None)
        )


def words(*patterns: str) -> re.Pattern[str]:
    """One of these, in upper or lower case."""
    return re.compile("|".join(patterns), re.IGNORECASE)


def both(*ends: str) -> frozenset[str]:
    """The enhanced codes 4.x and 5.x with these ends ("2.1")."""
    return frozenset(f"{digit}.{end}" for digit in (4, 5) for end in ends)


DELIVERING = Rule(  # Exchange: its name for handing a message over to a mailbox of its own
    None, "the recipient's mailbox", text=words(r"\bstoredrv\.deliver\b"), about=About.RECIPIENT
)

AT_AUTH = frozenset({Phase.AUTH})
AT_MAIL = frozenset({Phase.MAIL})
AT_RCPT = frozenset({Phase.RCPT})
AFTER_RCPT = frozenset({Phase.DATA, Phase.BODY, Phase.DOT})
NOT_RCPT = AFTER_RCPT | AT_AUTH | AT_MAIL
COMMANDS = NOT_RCPT | AT_RCPT

QUOTA = "a quota of the account or of the relay is used up"
THROTTLE = "the relay throttles this account"
CONNECTIONS = "the relay admits fewer connections at once"
NOT_VERIFIED = "the relay does not know the sender as verified"
NOT_ALLOWED = "the account may not send (as this sender)"
NOT_USABLE = "the relay does not let this account send"
LOG_IN = "the relay asks for a log-in or refuses it"
UNAUTHENTICATED = "the sender's domain fails SPF, DKIM or DMARC"
BLOCKED = "the relay refuses this machine's IP address"
GREETED = "the relay refuses this machine's name: set OUTBOX_LOCAL_HOSTNAME, or its name in the DNS"
