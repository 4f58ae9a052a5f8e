"""Reads the mailbox that reports come to: by `outbox-bounces`, and as a duty of workers.

A report is recorded before it is marked. What is read twice, by two workers or after a crash, is stored once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from outbox.core.events import logger
from outbox.message.reports import MOST_BYTES, UnreadableError
from outbox.operations import mail_reports
from outbox.operations.events import Recorded
from outbox.settings import Settings
from outbox.smtp.imap import Mailbox, MailboxError

if TYPE_CHECKING:
    from sqlalchemy import Engine

_MOST = 1_000  # mails in one look; the next one goes on


@dataclass(slots=True)
class Looked:
    """What came of one look."""

    taken: int = 0
    left: int = 0
    more: bool = False


class BounceMailbox:
    """A duty of a worker; and a look, for the command."""

    name = "bounces"
    at_once = True

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.seconds = settings.bounce_imap_seconds
        self._engine = engine
        self._settings = settings
        self._left: tuple[str, set[str]] = "", set()  # where the server keeps no keywords

    def run(self) -> None:
        """Look. Raises MailboxError, DatabaseError or SchemaError: what was not recorded stays unread."""
        looked = self.look(lambda one: None)
        if looked.taken or looked.left:
            logger.info("bounces: %d reports recorded, %d mails left unread", looked.taken, looked.left)

    def look(self, say: Callable[[Recorded], None]) -> Looked:
        """Record what is unread; `say` is told of each event."""
        mailbox, folder = self._settings.bounce_mailbox or (None, "")
        if mailbox is None:
            raise MailboxError("There is no mailbox: set OUTBOX_BOUNCE_IMAP_URL.")
        if mailbox.auth == "xoauth2":
            source = next((relay.tokens for relay in self._settings.transports if relay.tokens is not None), None)
            if source is None:
                raise MailboxError("OUTBOX_BOUNCE_IMAP_AUTH is xoauth2, but no transport has tokens: docs/oauth.md.")
            mailbox = replace(mailbox, tokens=source)
        looked = Looked()
        with Mailbox(mailbox, folder) as opened:
            if self._left[0] != opened.validity:
                self._left = opened.validity, set()
            ids = [id for id in opened.unread() if id not in self._left[1]]
            looked.more = len(ids) > _MOST
            for id in ids[:_MOST]:
                try:
                    recorded = mail_reports.take(self._engine, self._settings, opened.fetch(id, MOST_BYTES))
                except UnreadableError:
                    opened.left(id)
                    self._left[1].add(id)
                    looked.left += 1
                    continue
                opened.taken(id, self._settings.bounce_imap_folder)
                looked.taken += 1
                for one in recorded:
                    say(one)
        return looked
