"""Mail that was enqueued in a session and is not committed yet, followed through savepoints, commits and rollbacks."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from flask import Flask
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from outbox.core.loggers import get_logger
from outbox.extension import scopes, signals
from outbox.extension.scopes import Scope
from outbox.store import transactions

logger = get_logger("outbox.pending")

_KEY = "outbox.pending"
_OURS = ("outbox.", "flask_mail.")
"""How the names of modules begin that no application has written."""

REMEDY = (
    "Commit the session after enqueueing. Or set OUTBOX_UNCOMMITTED to 'commit', which commits at the end of each "
    "request and application context that succeeded, whatever else was written."
)


class _Scoped(Protocol):
    scope: int  # id() of the innermost savepoint or transaction it is in


@dataclass(slots=True)
class Mail:
    """One message that was enqueued and is not committed. Nothing of its content."""

    message_id: str
    recipients: int
    kind: str | None
    place: str  # where the application enqueued it: file:line
    scope: int  # id() of the innermost savepoint or transaction it is in
    belongs_to: Scope | None  # at whose end it is looked at
    app: Flask
    is_told: bool = False  # that nobody commits it

    def __str__(self) -> str:
        many = f"{self.recipients} recipient{'' if self.recipients == 1 else 's'}"
        kind = "" if self.kind is None else f", kind {self.kind}"
        return f"{self.message_id} ({many}{kind}, enqueued at {self.place})"


def watch(session: Session, *messages: tuple[str, int, str | None], app: Flask) -> None:
    """Follow messages (Message-ID, how many recipients, kind) just enqueued in `session` until its transaction ends."""
    mails = session.info.get(_KEY)
    if mails is None:
        mails = session.info[_KEY] = []
        weakref.finalize(session, _abandoned, mails)
    belongs_to = scopes.current()
    if belongs_to is not None:
        belongs_to.add(session)
    place, scope = _place(), id(innermost(session))
    for message_id, recipients, kind in messages:
        mails.append(Mail(message_id, recipients, kind, place, scope, belongs_to, app))


def mails_of(session: Session, scope: Scope | None = None) -> list[Mail]:
    """What is not committed in `session`; only what belongs to `scope`, if that is given."""
    return [mail for mail in _mails(session) if scope is None or mail.belongs_to is scope]


def hand_on(session: Session, mails: Iterable[Mail], scope: Scope | None) -> None:
    """They belong to `scope` from now on; None: they are told of when their session is closed."""
    for mail in mails:
        mail.belongs_to = scope
    if scope is not None:
        scope.add(session)


def settled(mails: Iterable[Mail], scope: Scope) -> None:
    """The end of `scope` has seen to them: what still belongs to it is told of once."""
    for mail in mails:
        if mail.belongs_to is scope:
            mail.belongs_to, mail.is_told = None, True


def _mails(session: Session) -> list[Mail]:
    mails: list[Mail] = session.info.get(_KEY, [])
    return mails


def _forget(session: Session, mails: Iterable[Mail]) -> None:
    gone = {id(mail) for mail in mails}
    held = _mails(session)
    held[:] = [mail for mail in held if id(mail) not in gone]


def innermost(session: Session) -> SessionTransaction | None:
    """The savepoint or transaction that it is in."""
    return session.get_nested_transaction() or session.get_transaction()


def listen() -> None:
    """For all sessions."""
    follow(_committed, _rolled_back, _ended)


def follow(
    committed: Callable[[Session], None],
    rolled_back: Callable[[Session], None],
    ended: Callable[[Session, SessionTransaction], None],
) -> None:
    """Have all sessions tell, once: listening to single ones costs more than looking into `session.info`."""
    for name, listener in (
        ("after_commit", committed),
        ("after_rollback", rolled_back),
        ("after_transaction_end", ended),
    ):
        if not event.contains(Session, name, listener):
            event.listen(Session, name, listener)


def _committed(session: Session) -> None:
    mails = _mails(session)
    if not mails:
        return
    transaction = innermost(session)
    if transaction is None or not transaction.nested:
        queued = list(mails)
        mails.clear()
        for mail in queued:
            signals.queued(mail.app, mail.message_id, recipients=mail.recipients, kind=mail.kind)
    else:
        rescope(mails, transaction)


def _rolled_back(session: Session) -> None:
    mails = _mails(session)
    if not mails:
        return
    transaction = innermost(session)
    nested = transaction is not None and transaction.nested
    gone = [mail for mail in mails if not nested or mail.scope == id(transaction)]
    _forget(session, gone)
    gone = [mail for mail in gone if not mail.is_told]
    activity = transactions.activity(session)
    if gone and activity is not None and activity.committed_by is not None:
        logger.warning(
            "%s, which the transaction executed before it was rolled back, commits what is before it: mail that is, is "
            "sent: %s. Enqueue after such statements, or execute them in another session.",
            activity.committed_by,
            listed(gone),
        )
    elif gone and activity is not None and activity.committing:
        logger.warning(
            "the commit failed; its mail is not sent, unless the database has committed it: %s", listed(gone)
        )
    elif gone:
        logger.info("rolled back, together with its mail: %s", listed(gone))


def _ended(session: Session, transaction: SessionTransaction) -> None:
    # What was committed or rolled back is no longer here: so the session was closed, or an outer savepoint is about to
    # be rolled back.
    mails = _mails(session)
    if not mails:
        return
    if transaction.parent is not None:
        rescope(mails, transaction)
        return
    gone = list(mails)
    mails.clear()
    _lost(gone, "a session was closed")


def _abandoned(mails: list[Mail]) -> None:
    gone = list(mails)
    mails.clear()
    _lost(gone, "a session was discarded")


def _lost(mails: list[Mail], how: str) -> None:
    at_once = []
    for mail in mails:
        scope = mail.belongs_to
        if scope is not None and not scope.is_over and (scope.is_request or scope.is_ending):
            scope.lost.append(mail)
        elif not mail.is_told:
            at_once.append(mail)
    if at_once:
        logger.warning("%s with uncommitted mail, which is not sent: %s. %s", how, listed(at_once), REMEDY)


def rescope(mails: Iterable[_Scoped], transaction: SessionTransaction) -> None:
    """A savepoint has ended: what was in it is now in the one around it, or in the transaction."""
    around = transaction.parent
    while around is not None and around.parent is not None and not around.nested:
        around = around.parent
    for mail in mails:
        if mail.scope == id(transaction):
            mail.scope = id(around)


def listed(mails: list[Mail], most: int = 10) -> str:
    """For the log: which they are, and where they were enqueued."""
    shown = "; ".join(str(mail) for mail in mails[:most])
    return shown if len(mails) <= most else f"{shown}; and {len(mails) - most} more"


def _place() -> str:
    """Where the application's own code asked for the mail."""
    frame = sys._getframe(2)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__', '')}.".startswith(_OURS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
