"""What is said of a session's work once it is committed; nothing of what is rolled back, and be it to a savepoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session, SessionTransaction

from outbox.extension.uncommitted import follow, innermost, rescope

_KEY = "outbox.after-commit"


@dataclass(slots=True)
class _Call:
    call: Callable[[], None]
    scope: int  # id() of the innermost savepoint or transaction it is in


def after_commit(session: Session, call: Callable[[], None]) -> None:
    """Call it in SQLAlchemy's `after_commit`, where the session can't be used for SQL."""
    follow(_committed, _rolled_back, _ended)
    session.info.setdefault(_KEY, []).append(_Call(call, id(innermost(session))))


def _held(session: Session) -> list[_Call]:
    held: list[_Call] = session.info.get(_KEY, [])
    return held


def _committed(session: Session) -> None:
    if not (held := _held(session)):
        return
    transaction = innermost(session)
    if transaction is not None and transaction.nested:
        rescope(held, transaction)
        return
    due = list(held)
    held.clear()
    for one in due:
        one.call()


def _rolled_back(session: Session) -> None:
    transaction = innermost(session)
    nested = transaction is not None and transaction.nested
    held = _held(session)
    held[:] = [one for one in held if nested and one.scope != id(transaction)]


def _ended(session: Session, transaction: SessionTransaction) -> None:
    held = _held(session)
    if transaction.parent is not None:
        rescope(held, transaction)
    else:
        held.clear()
