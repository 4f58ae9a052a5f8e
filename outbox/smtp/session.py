"""One SMTP session with a relay: open for one transaction after the other, as long as it is beyond doubt."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from outbox.delivery.reply import Phase
from outbox.settings.relay import Relay
from outbox.smtp.channel import Refused
from outbox.smtp.commands import announced
from outbox.smtp.learned import Learned
from outbox.smtp.resolver import Resolver
from outbox.smtp.transaction import Answer, GroupBroken, Transacting

__all__ = ["Answer", "GroupBroken", "Refused", "Session"]


class Session(Transacting):
    """`open` it, then call `transact` as long as `is_usable`."""

    def __init__(
        self,
        relay: Relay,
        resolver: Resolver,
        context: Callable[[], ssl.SSLContext],
        monotonic: Callable[[], float],
        *,
        learned: Learned,
        one_by_one: bool = False,
    ) -> None:
        """`one_by_one`: leave PIPELINING alone, though it is offered."""
        super().__init__(relay, resolver, context, monotonic, learned=learned)
        self._one_by_one = one_by_one
        self._most = relay.max_messages  # on one connection, as far as it was announced

    def open(self, deadline: float) -> None:
        """As Channel's; afterwards the session is usable."""
        super().open(deadline)
        most = announced(self.esmtp_features, "MAILMAX")
        self._most = self.relay.max_messages if most is None else min(self.relay.max_messages, most)
        self._learned.announced(
            announced(self.esmtp_features, "RCPTMAX"), announced(self.esmtp_features, "RCPTDOMAINMAX")
        )
        wanted = self.relay.pipelining and not self._one_by_one and self._learned.pipelining is not False
        self.pipelined = wanted and "pipelining" in self.esmtp_features
        self.reusable = True
        self.used_at = self._monotonic()

    @property
    def is_established(self) -> bool:
        """Whether MAIL could be said over it, or has been, and it is not closed yet."""
        return self.wire.sock is not None and (self.reusable or self.transactions > 0)

    def close(self) -> None:
        """As Channel's; afterwards the session is not usable."""
        self.reusable = False
        super().close()

    def leave(self) -> None:
        """QUIT where that can be said, else just the end: a relay that waits for content is told nothing."""
        if self.reusable:
            self.quit()
        else:
            self.close()

    def is_usable(self) -> bool:
        """Whether the next mail may go over this connection: not too old or worn, and nothing unasked came in."""
        now = self._monotonic()
        return (
            self.reusable
            and self.transactions < self._max_messages(now)
            and now - self.used_at < self.relay.idle_timeout
            and self.wire.is_quiet()
        )

    def ping(self, deadline: float) -> Answer:
        """NOOP and RSET, as a proof that the relay would take a mail now."""
        self.wire.deadline, self.wire.silence = deadline, self.relay.command_timeout
        self.phase = Phase.MAIL
        for command in ("NOOP", "RSET"):
            code, text = self.docmd(command)
            if code != 250:
                break
        return Answer(Phase.MAIL, code, text)

    def ask(self, phase: Phase, command: bytes, deadline: float) -> Answer:
        """One command by itself, and its reply."""
        self.wire.deadline, self.wire.silence = deadline, self.relay.command_timeout
        self.phase = phase
        self.wire.write(command + b"\r\n")
        return Answer(phase, *self.wire.read_reply())

    def _max_messages(self, now: float) -> int:
        learned = self._learned.max_messages(now)
        return self._most if learned is None else min(self._most, learned)
