"""What the transactions of sessions do besides writing mail.

Mail that nobody committed may be committed for its own sake, but only with a transaction that wrote nothing else. So
each transaction of each session is followed from its begin, through the statements that SQLAlchemy executes. Whatever
can't be told counts as more than mail.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from outbox.core.events import logger
from outbox.store.databases import of
from outbox.store.statements import beyond_reading

ONE_DATABASE = (
    "Keep the outbox's tables where those rows are, or give the session twophase=True (PostgreSQL, MariaDB, MySQL)."
)

_KEY = "outbox.transaction"
_NAME = "_outbox_transaction"

_COMMITS = frozenset({"ALTER", "ANALYZE", "CREATE", "DROP", "GRANT", "LOCK", "RENAME", "REVOKE", "TRUNCATE"})


class Activity:
    """What one transaction of a session has done so far."""

    __slots__ = (
        "__weakref__",
        "began_in",
        "committed_by",
        "committing",
        "is_async",
        "is_explicit",
        "is_over",
        "mail_on",
        "more",
        "more_on",
        "ours",
    )

    def __init__(self, began_in: Any, *, is_explicit: bool) -> None:
        self.began_in = began_in  # what `listen` was told to ask, at the begin
        self.is_explicit = is_explicit  # by `Session.begin`, whose caller means to end it
        self.more: list[tuple[str, Any]] = []  # what besides mail, and what `began_in` would be there
        self.mail_on: list[sa.Engine] = []
        self.more_on: list[sa.Engine] = []
        self.ours = 0
        self.committed_by: str | None = None  # a statement with which MySQL and MariaDB commit what was before it
        self.is_async = False
        self.committing = False
        self.is_over = False

    def note(self, what: str) -> None:
        """It did `what`, which is more than to write mail."""
        where = _ask()
        if not any(place is where for _, place in self.more):
            self.more.append((what, where))

    def beyond_mail(self, session: Session) -> str | None:
        """What it did besides writing mail, or is about to do; None if that is nothing."""
        if self.more:
            return self.more[0][0]
        if session.new or session.dirty or session.deleted:
            return "objects that are not flushed"
        return "a savepoint that is still open" if session.in_nested_transaction() else None


def activity(session: Session) -> Activity | None:
    """That of the session's open transaction. None where there is none, or it began before anybody followed it."""
    return session.info.get(_KEY)


class writing_mail:
    """What is executed on `connection` within it is the outbox's own. No generator: that costs three times as much."""

    __slots__ = ("_followed",)

    def __init__(self, connection: sa.Connection) -> None:
        self._followed = _on(connection)
        if self._followed is not None and connection.engine not in self._followed.mail_on:
            self._followed.mail_on.append(connection.engine)

    def __enter__(self) -> None:
        if self._followed is not None:
            self._followed.ours += 1

    def __exit__(self, *error: object) -> None:
        if self._followed is not None:
            self._followed.ours -= 1


def listen(ask: Callable[[], Any]) -> None:
    """Follow all sessions of this process from now on. `ask`: where a transaction begins, or does more than mail."""
    global _ask, _looks_through
    _ask = ask
    for target, name, listener in (
        (Session, "after_transaction_create", _created),
        (Session, "after_begin", _began),
        (Session, "after_transaction_end", _ended),
        (sa.Engine, "before_cursor_execute", _executing),
        (sa.Engine, "commit", _committing),
    ):
        if not event.contains(target, name, listener):
            event.listen(target, name, listener)
    if not _looks_through:
        _looks_through = True  # once: another library may have put its own property around ours since
        sa.Connection.connection = _looked_through  # type: ignore[method-assign,assignment]


def _on(connection: sa.Connection) -> Activity | None:
    """What is followed on a connection; it is kept there, since a weak dictionary costs each statement more."""
    followed: Activity | None = connection.__dict__.get(_NAME)
    return followed


_bound_to: WeakKeyDictionary[sa.Connection, Activity] = WeakKeyDictionary()
# by the connection that a session was made with, and may begin with a savepoint on, before it says that it began

_told: WeakSet[sa.Engine] = WeakSet()
_driver_connection: Any = sa.Connection.connection
_looks_through = False


def _ask() -> Any:
    return None


def _created(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        followed = session.info[_KEY] = Activity(_ask(), is_explicit=transaction.origin.name == "BEGIN")
        if isinstance(session.bind, sa.Connection):
            _bound_to[session.bind] = followed


def _began(session: Session, transaction: SessionTransaction, connection: sa.Connection) -> None:
    followed = activity(session)
    if followed is None:
        return
    before = _on(connection)
    if before is followed:
        return  # in a savepoint
    if before is not None and not before.is_over:
        before.note("another session on its connection")
        followed.note("another session on its connection")
    if session.join_transaction_mode == "control_fully":
        followed.note("a transaction that was begun outside of its session")
    followed.is_async = followed.is_async or connection.dialect.is_async
    setattr(connection, _NAME, followed)


def _ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None and (followed := session.info.pop(_KEY, None)) is not None:
        followed.is_over = True


def _executing(
    connection: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> None:
    followed = _on(connection)
    if statement.startswith("SAVEPOINT"):
        users = (followed, _bound_to.get(connection))
        if any(user is not None and not user.is_over for user in users):
            of(connection).before_savepoint(connection, cursor)
    if followed is None or followed.ours or followed.is_over:
        return
    compiled = context is not None and context.compiled is not None
    what = beyond_reading(statement)
    if what is None and compiled:
        return
    followed.note(what or "SELECT by exec_driver_sql")
    words = statement.upper().split(maxsplit=2) or [""]
    if connection.engine not in followed.more_on:
        followed.more_on.append(connection.engine)
    if words[0] in _COMMITS and of(connection).commits_ddl and "TEMPORARY" not in words[1:2]:
        followed.committed_by = words[0]


def _committing(connection: sa.Connection) -> None:
    followed = _on(connection)
    if followed is None:
        return
    followed.committing = True
    elsewhere = [engine for engine in followed.more_on if engine not in followed.mail_on]
    if followed.mail_on and elsewhere and elsewhere[0] not in _told:
        _told.add(elsewhere[0])
        logger.warning(
            "a session commits mail to %s and rows to %s, one after the other: if the second commit fails, the first "
            "stays. %s",
            *(engine.url.render_as_string(hide_password=True) for engine in (followed.mail_on[0], elsewhere[0])),
            ONE_DATABASE,
        )


@property  # type: ignore[misc]
def _looked_through(connection: sa.Connection) -> Any:
    """`Connection.connection`, which is how to come by the driver's cursor: nobody can see what is done with that."""
    followed = connection.__dict__.get(_NAME)
    if followed is not None and not followed.ours and not followed.is_over:
        module = sys._getframe(1).f_globals.get("__name__", "")
        if module.partition(".")[0] not in {"sqlalchemy", "outbox"}:
            followed.note("the driver's own connection")
    return _driver_connection.fget(connection)
