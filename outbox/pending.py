"""Forgotten commits: mail that was enqueued in a session and is not committed yet, watched until it is.

What `flask_mail.Mail.send` did at once now waits for a commit, and code written for Flask-Mail may make none. So the
mail of each session is followed through savepoints, commits and rollbacks, and what a request leaves uncommitted is
committed, warned of or raised, as OUTBOX_UNCOMMITTED says.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, has_request_context, request
from flask.signals import request_finished, request_started, request_tearing_down
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction
from werkzeug.exceptions import HTTPException

from outbox import signals
from outbox.errors import UncommittedMailError

logger = logging.getLogger(__name__)

_KEY = "outbox.pending"
_REMEDY = (
    "Commit the session after enqueueing; or set OUTBOX_UNCOMMITTED to 'commit', which commits at the end of each "
    "request that succeeded."
)


@dataclass(slots=True)
class Mail:
    """One message that was enqueued and is not committed. Nothing of its content."""

    message_id: str
    recipients: int
    kind: str | None
    place: str  # where the application enqueued it: file:line
    scope: int  # id() of the innermost savepoint or transaction it stands in
    request: RequestMail | None
    app: Flask

    def __str__(self) -> str:
        many = f"{self.recipients} recipient{'' if self.recipients == 1 else 's'}"
        kind = "" if self.kind is None else f", kind {self.kind}"
        return f"{self.message_id} ({many}{kind}, enqueued at {self.place})"


@dataclass(slots=True)
class RequestMail:
    """The mail of one request."""

    environ: int  # id() of the request's
    outer: RequestMail | None = None  # of the request in which this one is made, by a test client for instance
    sessions: list[weakref.ref[Session]] = field(default_factory=list)
    lost: list[Mail] = field(default_factory=list)  # its session was closed before the end of the request
    failed: bool = False  # an exception left the view, whatever became of it then

    def open(self) -> list[tuple[Session, list[Mail]]]:
        """The sessions that are still there, each with the mail of this request that is not committed."""
        sessions = [session for reference in self.sessions if (session := reference()) is not None]
        held = [(session, [mail for mail in _mails(session) if mail.request is self]) for session in sessions]
        return [(session, mails) for session, mails in held if mails]


_current: ContextVar[RequestMail | None] = ContextVar("outbox_request_mail", default=None)
# Not in `g`: an application context pushed within the request has another one. Nor with the request itself: a thread
# that goes on with a copy of the request's context shares that, but must not be committed at the request's end.


def watch(session: Session, *messages: tuple[str, int, str | None], app: Flask) -> None:
    """Follow messages (Message-ID, how many recipients, kind) just enqueued in `session` until its transaction ends."""
    if _KEY not in session.info:
        session.info[_KEY] = []
        weakref.finalize(session, _abandoned, session.info[_KEY])
    belongs_to = _request_mail() if has_request_context() else None
    if belongs_to is not None and not any(reference() is session for reference in belongs_to.sessions):
        belongs_to.sessions.append(weakref.ref(session))
    place, scope = _place(), id(_innermost(session))
    session.info[_KEY].extend(
        Mail(message_id, recipients, kind, place, scope, belongs_to, app) for message_id, recipients, kind in messages
    )


class Guard:
    """Looks at the end of each request of one application whether its mail was committed; one for each application."""

    policy = "warn"  # or "commit" or "raise"

    def __init__(self, app: Flask) -> None:
        """It holds only as long as this object lives."""
        _listen()
        request_started.connect(self._started, app)
        request_finished.connect(self._finished, app)
        request_tearing_down.connect(self._tearing_down, app)
        _note_exceptions(app)

    def _started(self, app: Flask, **extra: Any) -> None:
        _request_mail()  # before an asynchronous view runs in a copy of this context

    def _finished(self, app: Flask, response: Response, **extra: Any) -> None:
        # After all functions of `after_request`, where applications commit, and before the response leaves: what is
        # raised here becomes the response of the request.
        self._settle(_request_mail(), succeeded=response.status_code < 400)

    def _tearing_down(self, app: Flask, exc: BaseException | None = None, **extra: Any) -> None:
        # What was not settled before: an exception that is passed on, a streamed response, a test's own context.
        mail = _request_mail()
        _current.set(mail.outer)
        self._settle(mail, succeeded=exc is None)

    def _settle(self, request_mail: RequestMail, *, succeeded: bool) -> None:
        held, lost = request_mail.open(), request_mail.lost
        request_mail.sessions, request_mail.lost = [], []
        left = [mail for _, mails in held for mail in mails]
        try:
            if self.policy == "commit" and succeeded and not request_mail.failed:
                for session, _ in held:
                    session.commit()
                left = []
        finally:
            for session, mails in held:
                _forget(session, mails)
        self._tell([*lost, *left], succeeded=succeeded, failed=request_mail.failed)

    def _tell(self, mails: list[Mail], *, succeeded: bool, failed: bool) -> None:
        if not mails:
            return
        if not succeeded:  # nothing to raise: the request has an error to show already
            level = logging.INFO if failed else logging.WARNING  # an exception rolls back by intent, a page may not
            logger.log(level, "the request failed, and with it goes its uncommitted mail: %s", _listed(mails))
        elif self.policy == "raise" and not failed:
            raise UncommittedMailError(f"The request ends with uncommitted mail: {_listed(mails)}. {_REMEDY}")
        else:
            logger.warning("the request ends with uncommitted mail, which is not sent: %s. %s", _listed(mails), _REMEDY)


def _note_exceptions(app: Flask) -> None:
    """Remember of a request that an exception left its view, even if an error handler makes a page of it.

    Flask has no signal for an exception that is handled. Half of a transaction must not be committed for it.
    """
    handle = app.handle_user_exception

    def handle_user_exception(e: Exception) -> Any:
        if not isinstance(e, HTTPException) or _status(e) >= 400:
            _request_mail().failed = True
        return handle(e)

    app.handle_user_exception = handle_user_exception  # type: ignore[method-assign]


def _status(error: HTTPException) -> int:
    return error.response.status_code if error.response is not None else error.code or 500


def _request_mail() -> RequestMail:
    """That of the request that is going on."""
    mail = _current.get()
    if mail is None or mail.environ != id(request.environ):
        mail = RequestMail(id(request.environ), outer=mail)
        _current.set(mail)
    return mail


def _mails(session: Session) -> list[Mail]:
    mails: list[Mail] = session.info.get(_KEY, [])
    return mails


def _forget(session: Session, mails: Iterable[Mail]) -> None:
    gone = {id(mail) for mail in mails}
    held = _mails(session)
    held[:] = [mail for mail in held if id(mail) not in gone]


def _innermost(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def _listen() -> None:
    """For all sessions, once: listening to single ones costs more than looking into `session.info`."""
    for name, listener in (
        ("after_commit", _committed),
        ("after_rollback", _rolled_back),
        ("after_transaction_end", _ended),
    ):
        if not event.contains(Session, name, listener):
            event.listen(Session, name, listener)


def _committed(session: Session) -> None:
    mails = _mails(session)
    if not mails:
        return
    transaction = _innermost(session)
    if transaction is None or not transaction.nested:
        queued = list(mails)
        mails.clear()
        for mail in queued:
            signals.queued(mail.app, mail.message_id, recipients=mail.recipients, kind=mail.kind)
    else:
        _rescope(mails, transaction)


def _rolled_back(session: Session) -> None:
    mails = _mails(session)
    if not mails:
        return
    transaction = _innermost(session)
    nested = transaction is not None and transaction.nested
    gone = [mail for mail in mails if not nested or mail.scope == id(transaction)]
    _forget(session, gone)
    if gone:
        logger.info("rolled back, and with the transaction its mail: %s", _listed(gone))


def _ended(session: Session, transaction: SessionTransaction) -> None:
    # What was committed or rolled back is no longer here: so the session was closed, or an outer savepoint is about to
    # be rolled back.
    mails = _mails(session)
    if not mails:
        return
    if transaction.parent is not None:
        _rescope(mails, transaction)
        return
    gone = list(mails)
    mails.clear()
    _lost(gone, "a session was closed")


def _abandoned(mails: list[Mail]) -> None:
    gone = list(mails)
    mails.clear()
    _lost(gone, "a session was thrown away")


def _lost(mails: list[Mail], how: str) -> None:
    for mail in mails:
        if mail.request is not None:
            mail.request.lost.append(mail)
    outside = [mail for mail in mails if mail.request is None]
    if outside:
        logger.warning("%s with uncommitted mail, which is not sent: %s. %s", how, _listed(outside), _REMEDY)


def _rescope(mails: list[Mail], transaction: SessionTransaction) -> None:
    """A savepoint is no more: what stood in it stands in the one around it, or in the transaction."""
    around = transaction.parent
    while around is not None and around.parent is not None and not around.nested:
        around = around.parent
    for mail in mails:
        if mail.scope == id(transaction):
            mail.scope = id(around)


def _listed(mails: list[Mail], most: int = 10) -> str:
    shown = "; ".join(str(mail) for mail in mails[:most])
    return shown if len(mails) <= most else f"{shown}; and {len(mails) - most} more"


def _place() -> str:
    """Where the application's own code asked for the mail."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in {"outbox", "flask_mail"}
