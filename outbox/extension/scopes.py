"""What mail belongs to that nobody committed: the request, or the application context, in which it was enqueued."""

from __future__ import annotations

import sys
import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from flask import Flask, has_app_context, has_request_context, request
from flask.globals import app_ctx
from sqlalchemy.orm import Session

GUARD = "outbox.guard"
"""The extension of an application whose requests and contexts are looked at when they end."""


@dataclass(slots=True, eq=False)
class Scope:
    """A request; or an application context outside a request: of a thread, task, job, command or script."""

    environ: int | None  # id() of the request's; None for an application context
    outer: Scope | None = None  # of the request in which this one is made, by a test client for instance
    context: weakref.ref[Any] | None = None  # the application context in which the request began
    sessions: list[weakref.ref[Session]] = field(default_factory=list)
    lost: list[Any] = field(default_factory=list)  # mail whose session was closed before the end
    failed: bool = False  # an exception left the view, whatever became of it then
    is_dispatched: bool = False  # the request came in, by a server or a test client, and somebody awaits its response
    is_ending: bool = False
    is_over: bool = False

    @property
    def is_request(self) -> bool:
        """Whether it is a request."""
        return self.environ is not None

    def __str__(self) -> str:
        return "request" if self.is_request else "application context"

    def add(self, session: Session) -> None:
        """`session` holds mail of this scope."""
        if not any(reference() is session for reference in self.sessions):
            self.sessions.append(weakref.ref(session))

    def drop(self, session: Session) -> None:
        """The end of this scope has dealt with what `session` holds."""
        self.sessions = [reference for reference in self.sessions if reference() is not session]

    def held(self) -> list[Session]:
        """The sessions that are still there."""
        return [session for reference in self.sessions if (session := reference()) is not None]


_request: ContextVar[Scope | None] = ContextVar("outbox_request", default=None)
# Not in `g`: an application context pushed within the request has another one. Nor with the request itself: a thread
# that goes on with a copy of the request's context shares that, but must not be committed at the request's end.

_contexts: WeakKeyDictionary[Any, Scope] = WeakKeyDictionary()  # by application context
_handled: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # id() of an exception that was handled at its begin


def current() -> Scope | None:
    """The innermost scope; None outside of any, and where nobody would look at its end."""
    if not has_app_context():
        return None
    context = app_ctx._get_current_object()  # type: ignore[attr-defined]
    if GUARD not in context.app.extensions:
        return None
    if has_request_context():
        scope = of_request()
        began = scope.context and scope.context()
        if began is None or began is context:
            return scope
    known = _contexts.get(context)
    if known is None:
        known = _contexts[context] = Scope(None)
    return known


def of_request() -> Scope:
    """That of the request that is going on."""
    scope = _request.get()
    if scope is None or scope.environ != id(request.environ):
        context = app_ctx._get_current_object()  # type: ignore[attr-defined]
        scope = Scope(id(request.environ), outer=scope, context=weakref.ref(context))
        _request.set(scope)
    return scope


def leave_request() -> Scope:
    """The same, which ends now."""
    scope = of_request()
    _request.set(scope.outer)
    return scope


def context_pushed(app: Flask, **extra: Any) -> None:
    """An application context begins, perhaps while an exception is handled: that will not be its own."""
    error = sys.exc_info()[1]
    if error is not None:
        _handled[app_ctx._get_current_object()] = id(error)  # type: ignore[attr-defined]


def leave_context(error: BaseException | None) -> tuple[Scope | None, bool]:
    """The scope of the application context that ends now, if it has one, and whether it succeeded.

    `error`: what Flask was told. Click, up to 8.1, closes the context of a command that raised without a word.
    """
    context = app_ctx._get_current_object()  # type: ignore[attr-defined]
    scope = _contexts.pop(context, None)
    known = _handled.pop(context, None)
    if scope is None:
        return None, True
    if error is None and (active := sys.exc_info()[1]) is not None and id(active) != known:
        error = active
    return scope, error is None or _is_good(error)


def _is_good(error: BaseException) -> bool:
    """An exception with which a command or shell ends normally."""
    if isinstance(error, SystemExit):
        return error.code in {None, 0}
    return getattr(error, "exit_code", None) == 0  # click.exceptions.Exit
