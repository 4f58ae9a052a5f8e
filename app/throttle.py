"""How often somebody may try to log in, or ask for mail. Counted in the database, so that it holds over all processes.

Each attempt is recorded before the password is checked, so that simultaneous attempts count, too. A log-in that
succeeds takes its own failures back. What is kept is a hash: neither addresses of people nor of machines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import LoginTry, fold

WINDOW = timedelta(minutes=15)

PER_PAIR = 5
"""Failed tries for one account from one machine. An account is not locked by what others do elsewhere …"""

PER_MACHINE = 50
PER_ACCOUNT = 100
"""… unless they are very many."""


MAILS_PER_MACHINE = 60
"""How often a machine may have mail written within WINDOW by a page that anybody can use, to whichever addresses."""

HOUR = timedelta(hours=1)

MAILS_PER_ADDRESS = 3
"""How often mail is written within HOUR because somebody gave an address, as the kinds' own throttle has it."""


def admit(session: Session, email: str, machine: str) -> timedelta | None:
    """Record an attempt and commit; None if it may continue, else how long it has to wait. `machine`: its address."""
    now = datetime.now(UTC)
    limits = dict(zip(_keys(email, machine), (PER_PAIR, PER_MACHINE, PER_ACCOUNT), strict=True))
    _forget(session, now)
    session.add_all(LoginTry(who=key, at=now) for key in limits)
    session.commit()
    waits = [_wait(session, key, most, now) for key, most in limits.items()]
    wait = max((wait for wait in waits if wait is not None), default=None)
    if wait is not None:  # who is turned away does not wait for longer by asking again
        _take_back(session, limits)
        session.commit()
    return wait


def forgive(session: Session, email: str, machine: str) -> None:
    """An attempt has succeeded: it does not count, nor do the failures of the pair. The caller commits."""
    pair, *others = _keys(email, machine)
    session.execute(sa.delete(LoginTry).where(LoginTry.who == pair))
    _take_back(session, others)


def may_mail(
    session: Session, purpose: str, email: str, *, most: int = MAILS_PER_ADDRESS, within: timedelta = HOUR
) -> bool:
    """Whether mail may be written because somebody gave `email` on a page: `most` `within` a time, known or not.

    The outbox counts what it has taken, and nothing is sent to an address that is not known. This counts both, with the
    same work, so that time does not tell. The caller commits.
    """
    now, key = datetime.now(UTC), _hash("mail", purpose, fold(email.strip()))
    _forget(session, now)
    if _wait(session, key, most - 1, now, within) is not None:
        return False
    session.add(LoginTry(who=key, at=now))
    return True


def wait_for_mail(session: Session, machine: str) -> timedelta | None:
    """None if this machine may cause one more mail, else how long it has to wait. The caller commits.

    It says nothing about addresses, so whoever has to wait may be told.
    """
    now, key = datetime.now(UTC), _hash("mail from", machine)
    _forget(session, now)
    wait = _wait(session, key, MAILS_PER_MACHINE - 1, now)
    if wait is None:
        session.add(LoginTry(who=key, at=now))
    return wait


def _forget(session: Session, now: datetime) -> None:
    """What counts nowhere any more."""
    session.execute(sa.delete(LoginTry).where(LoginTry.at < now - HOUR))


def _wait(session: Session, key: str, most: int, now: datetime, within: timedelta = WINDOW) -> timedelta | None:
    """Until there is room for one more; None if there is."""
    counting = sa.select(LoginTry.at).where(LoginTry.who == key, LoginTry.at > now - within)
    first_too_many = counting.order_by(LoginTry.at.desc(), LoginTry.id.desc())
    at = session.scalar(first_too_many.offset(most).limit(1))
    return None if at is None else max(at + within - now, timedelta(seconds=1))


def _take_back(session: Session, keys: Iterable[str]) -> None:
    """The newest try of each."""
    for key in keys:
        newest = sa.select(LoginTry.id).where(LoginTry.who == key).order_by(LoginTry.at.desc(), LoginTry.id.desc())
        session.execute(sa.delete(LoginTry).where(LoginTry.id == session.scalar(newest.limit(1))))


def _keys(email: str, machine: str) -> tuple[str, str, str]:
    account = fold(email.strip())
    return _hash("pair", account, machine), _hash("machine", machine), _hash("account", account)


def _hash(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()
