"""How a database tells an idle worker that something was committed, sooner than the next poll.

Polling stays the guarantee: what fails here costs latency, never a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

CHANNEL = "outbox"
"""The channel on which commits are told of, where a database has such."""


class Listener(Protocol):
    """Hears of commits on a connection that is used for other things as well. For the thread that uses it."""

    def fileno(self) -> int:
        """Readable when there may be news, or the connection is lost."""

    def heard(self) -> bool:
        """Whether there was news since this was last asked. Raises what the driver raises on a lost connection."""


class FileWatch(Protocol):
    """Tells of commits from a thread of its own."""

    def run(self, nudge: Callable[[], None]) -> None:
        """Calls `nudge` at each commit, until stopped."""

    def stop(self) -> None:
        """At once."""
