"""What becomes of mail that a request, or an application context, leaves uncommitted: as OUTBOX_UNCOMMITTED says."""

from __future__ import annotations

import logging
import os
import sys
from enum import Enum
from typing import Any

from flask import Flask, Response
from flask.signals import appcontext_pushed, request_finished, request_started, request_tearing_down
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException

from outbox.core.errors import UncommittedMailError
from outbox.extension import scopes
from outbox.extension import uncommitted as pending
from outbox.extension.scopes import Scope
from outbox.extension.uncommitted import Mail, logger
from outbox.settings import in_development, uncommitted
from outbox.store import transactions


class _Fate(Enum):
    COMMIT = "it is committed now"
    OUTER = "it is in a transaction that an outer scope began and may still commit"
    FORGOTTEN = "nothing will commit it"


class Guard:
    """Looks at the end of each request and application context of one application whether its mail was committed."""

    def __init__(self, app: Flask) -> None:
        """It holds only as long as this object lives."""
        pending.listen()
        transactions.listen(scopes.current)
        request_started.connect(self._started, app)
        request_finished.connect(self._finished, app)
        request_tearing_down.connect(self._tearing_down, app)
        appcontext_pushed.connect(scopes.context_pushed, app)
        _note_exceptions(app)
        self._end_contexts(app)

    def _started(self, app: Flask, **extra: Any) -> None:
        scopes.of_request().is_dispatched = True  # before an asynchronous view runs in a copy of this context

    def _finished(self, app: Flask, response: Response, **extra: Any) -> None:
        # After all functions of `after_request`, where applications commit, and before the response leaves: what is
        # raised here becomes the response of the request.
        scope, succeeded = scopes.of_request(), response.status_code < 400
        self._tell(app, scope, *_settle(app, scope, succeeded=succeeded), succeeded=succeeded)

    def _tearing_down(self, app: Flask, exc: BaseException | None = None, **extra: Any) -> None:
        # What was not settled before: an exception that is passed on, a streamed response, a test's own context.
        scope = scopes.leave_request()
        try:
            left, failure = _settle(app, scope, succeeded=exc is None)
        finally:
            scope.is_over = True
        self._tell(app, scope, left, failure, succeeded=exc is None)

    def _end_contexts(self, app: Flask) -> None:
        """Flask's signal for the end of an application context comes after the functions that close its session."""
        tear_down = app.do_teardown_appcontext

        def do_teardown_appcontext(*args: Any, **kwargs: Any) -> None:
            given = (one for one in (*args, *kwargs.values()) if isinstance(one, BaseException))
            scope, succeeded = scopes.leave_context(next(given, None))
            if scope is None:
                tear_down(*args, **kwargs)
                return
            scope.is_ending = True
            try:
                left, failure = _settle(app, scope, succeeded=succeeded)
            finally:
                try:
                    tear_down(*args, **kwargs)
                finally:
                    scope.is_over = True
            self._tell(app, scope, left, failure, succeeded=succeeded)

        app.do_teardown_appcontext = do_teardown_appcontext  # type: ignore[method-assign]

    def _tell(
        self, app: Flask, scope: Scope, left: _Left, failure: Exception | None = None, *, succeeded: bool
    ) -> None:
        """Say, or raise, what is left; then raise `failure`."""
        if not (left or scope.lost or failure):
            return
        lost, scope.lost = scope.lost, []
        known = {id(mail) for mail in lost}
        mails = [*lost, *(mail for mail, _ in left if id(mail) not in known)]
        if mails and not succeeded:  # nothing to raise: there is an error to show already
            by_intent = scope.failed or not scope.is_request  # an exception rolls back by intent, a page may not
            level = logging.INFO if by_intent else logging.WARNING
            logger.log(level, "the %s failed, and its uncommitted mail is discarded: %s", scope, pending.listed(mails))
        elif mails:
            beyond = {why for _, why in left if why}
            why = "".join(f" The transaction did more than write mail ({what})." for what in beyond)
            said = (
                f"the {scope} ends with uncommitted mail, which is not sent: {pending.listed(mails)}.{why} "
                f"{pending.REMEDY}"
            )
            if failure is None and _raises(app) and not scope.failed and _somebody_catches(scope):
                raise UncommittedMailError(said[:1].upper() + said[1:])
            logger.warning("%s", said)
        if failure is not None:
            raise failure


_Left = list[tuple[Mail, str | None]]  # with what its transaction did besides, where that kept it from being committed


def _settle(app: Flask, scope: Scope, *, succeeded: bool) -> tuple[_Left, Exception | None]:
    """Commit what may be. What is left, and will be committed by nobody, and the first error of a commit."""
    left: _Left = []
    failure: Exception | None = None
    for session in scope.held():  # nearly always none
        mails = pending.mails_of(session, scope)
        try:
            left += _settle_one(app, scope, session, mails, succeeded=succeeded)
        except Exception as error:  # noqa: BLE001 - the mail of the other sessions does not depend on it
            still = pending.mails_of(session, scope)  # of what was rolled back the log says so already
            if still:
                logger.warning(
                    "the commit at the end of the %s failed, and its mail is not sent: %s", scope, pending.listed(still)
                )
            if failure is not None:
                logger.error("another commit at the end of the %s failed", scope, exc_info=error)
            failure = failure or error
        pending.settled(mails, scope)
        scope.drop(session)
    return left, failure


def _settle_one(app: Flask, scope: Scope, session: Session, mails: list[Mail], *, succeeded: bool) -> _Left:
    """The same for one session. Raises what committing raises."""
    if not mails:
        return []
    fate, why = _Fate.FORGOTTEN, None
    if succeeded and not scope.failed:
        fate, why = _fate(uncommitted(app.config), scope, session, mails)
    if fate is _Fate.FORGOTTEN:
        return [(mail, why) for mail in mails]
    if fate is _Fate.COMMIT:
        session.commit()
    else:
        pending.hand_on(session, mails, _around(session))
    return []


def _around(session: Session) -> Scope | None:
    activity = transactions.activity(session)
    return None if activity is None or activity.began_in is None or activity.began_in.is_over else activity.began_in


def _fate(policy: str, scope: Scope, session: Session, mails: list[Mail]) -> tuple[_Fate, str | None]:
    activity = transactions.activity(session)
    if activity is None:
        unseen = _Fate.COMMIT if policy == "commit" and scope.is_request else _Fate.FORGOTTEN
        return unseen, "it began before it could be followed"
    if activity.is_async:
        return _Fate.FORGOTTEN, "an AsyncSession: only its own coroutine can commit it"
    beyond = activity.beyond_mail(session)
    if not _is_around(activity, scope, session):
        is_good = policy == "commit" or (policy == "auto" and beyond is None)
        return _Fate.COMMIT if is_good else _Fate.FORGOTTEN, beyond if policy == "auto" else None
    if not scope.is_request and activity.began_in is not None:
        return _Fate.OUTER, None
    if policy == "auto":
        alone = beyond is None and not activity.is_explicit and len(mails) == len(pending.mails_of(session))
        own = [what for what, where in activity.more if where is scope and scope.is_request]
        return (_Fate.COMMIT, None) if alone else (_Fate.FORGOTTEN, own[0]) if own else (_Fate.OUTER, None)
    if not scope.is_request:
        return _Fate.OUTER, None
    return _Fate.COMMIT if policy == "commit" else _Fate.FORGOTTEN, None


def _is_around(activity: transactions.Activity, scope: Scope, session: Session) -> bool:
    """Whether something outside `scope` began the transaction, and it is still open."""
    if activity.began_in is not scope and (activity.began_in is None or not activity.began_in.is_over):
        return True
    return getattr(session, "_trans_context_manager", None) is not None  # `with session.begin()` is open


def _raises(app: Flask) -> bool:
    policy = uncommitted(app.config)
    return policy == "raise" or (policy == "auto" and in_development(app.config))


def _somebody_catches(scope: Scope) -> bool:
    """Whether an error at the end of it meets the code that forgot the commit.

    Not where it was pushed by hand, or by a fixture of pytest's around a whole test: a test of a function whose caller
    commits is right.
    """
    if scope.is_dispatched:
        return True
    if os.environ.get("PYTEST_CURRENT_TEST", "").endswith("(teardown)"):
        return False
    frame = sys._getframe(1)
    while frame.f_back is not None:
        if frame.f_code.co_name == "__exit__" and frame.f_globals.get("__name__") == "flask.ctx":
            return True
        frame = frame.f_back
    return False


def _note_exceptions(app: Flask) -> None:
    """Remember of a request that an exception left its view, even if an error handler makes a page of it.

    Flask has no signal for an exception that is handled. Half of a transaction must not be committed for it.
    """
    handle = app.handle_user_exception

    def handle_user_exception(*args: Any, **kwargs: Any) -> Any:
        for e in (*args, *kwargs.values()):
            if isinstance(e, Exception) and (not isinstance(e, HTTPException) or _status(e) >= 400):
                scopes.of_request().failed = True
        return handle(*args, **kwargs)

    app.handle_user_exception = handle_user_exception  # type: ignore[method-assign]


def _status(error: HTTPException) -> int:
    return error.response.status_code if error.response is not None else error.code or 500
