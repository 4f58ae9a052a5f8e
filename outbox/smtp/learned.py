"""What a worker's connections have found out about their relay, so that the next ones need not find out again.

Known limit: it is kept in memory, so each worker finds out for itself.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, NamedTuple

from outbox.core.loggers import get_logger

log = get_logger("outbox.transport")

VALID_SECONDS = 3600.0
"""A limit that was learnt is forgotten after this: the relay's configuration may have changed."""

ALIKE = 3
"""Connections that end after the same number of messages, with a reply that does not say why, until that is a limit."""


class Sharing(NamedTuple):
    """How much one transaction carries. None: no limit is known."""

    recipients: int | None = None
    domains: int | None = None

    def within(self, other: Sharing) -> Sharing:
        """The lower of both limits."""
        return Sharing(
            *(
                one if two is None else two if one is None else min(one, two)
                for one, two in zip(self, other, strict=True)
            )
        )


NO_LIMIT = Sharing()


class Learned:
    """Shared by the connections of one transport. Thread-safe. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: int | None = None
        self._learnt_at = 0.0
        self._ends: Counter[int] = Counter()
        self._announced = self._sharing = NO_LIMIT
        self._sharing_learnt_at = 0.0
        self.pipelining: bool | None = None
        """Whether several commands in one packet get through: None until that has been seen."""
        self._address: Any = None

    def in_order(self, addresses: list[Any]) -> list[Any]:
        """The addresses of a look-up, each once, the one that served last before the others."""
        return sorted(dict.fromkeys(addresses), key=lambda address: address != self._address)

    def reached(self, address: Any) -> None:
        """The relay was ready at this one."""
        self._address = address

    def max_messages(self, now: float) -> int | None:
        """Messages that one connection carries; None: no limit is known."""
        if self._messages is None:
            return None
        with self._lock:
            if now - self._learnt_at > VALID_SECONDS:
                self._messages = None
                self._ends.clear()
            return self._messages

    def session_ended(self, relay: str, messages: int, now: float, *, told: bool) -> None:
        """A connection was refused more after `messages`, and a fresh one was not. `told`: the reply said why."""
        with self._lock:
            self._ends[messages] += 1
            known = self._messages
            if messages < 1 or (known is not None and known <= messages) or not (told or self._ends[messages] >= ALIKE):
                return
            self._messages, self._learnt_at = messages, now
        log.info("%s: takes %d messages on one connection; from here on a fresh one follows in time", relay, messages)

    def announced(self, recipients: int | None, domains: int | None) -> None:
        """What the relay says by LIMITS of one transaction; None: nothing."""
        self._announced = Sharing(recipients, domains)

    def sharing(self, now: float) -> Sharing:
        """What one transaction carries."""
        if self._sharing is not NO_LIMIT and now - self._sharing_learnt_at > VALID_SECONDS:
            self._sharing = NO_LIMIT
        return self._announced if self._sharing is NO_LIMIT else self._announced.within(self._sharing)

    def too_many(self, relay: str, most: Sharing, now: float) -> None:
        """One transaction took so many and no more."""
        with self._lock:
            known = self._sharing
            self._sharing, self._sharing_learnt_at = known.within(most), now
            if self._sharing == known:
                return
        what = " and ".join(
            f"{limit} {name}" for name, limit in zip(("recipients", "domains"), most, strict=True) if limit is not None
        )
        log.info("%s: takes %s in one transaction; from here on it gets no more at once", relay, what)

    def pipelining_works(self) -> None:
        """All commands of a group were answered."""
        if self.pipelining is None:
            self.pipelining = True

    def pipelining_fails(self, relay: str) -> None:
        """Only the first commands of a group were answered, and one at a time all of them."""
        with self._lock:
            if self.pipelining is not None:
                return
            self.pipelining = False
        log.warning(
            "%s: offers PIPELINING, but only the first command of a packet is answered (a firewall in between, most "
            "likely); commands go out one at a time from here on. OUTBOX_PIPELINING=false does so from the start",
            relay,
        )
