"""The application's tables: its users, and who tried to be one."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask_login import UserMixin
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, validates
from werkzeug.security import check_password_hash, generate_password_hash

from app.db import UtcDateTime, binary_string

EMAIL_LENGTH = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
USERNAME_LENGTH = 64

SESSION_DAYS = 30
"""A log-in ends after this long, however much it is used (NIST SP 800-63B §4.1.3)."""

_METHOD = "scrypt:32768:8:1"
_HASH_OF_NOBODY = f"{_METHOD}${'0' * 16}${'0' * 128}"
"""Of no password. It is checked for unknown addresses, with the work that a user's takes."""


class Base(DeclarativeBase):
    """The application's own metadata, beside the outbox's."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class NameTakenError(Exception):
    """Another user has this name."""


def fold(name: str) -> str:
    """The form in which two e-mail addresses or two user names are compared."""
    return unicodedata.normalize("NFC", name).lower()


def new_stamp() -> str:
    """A fresh value for `User.stamp`."""
    return secrets.token_hex(16)


def hash_password(password: str) -> str:
    """A salted scrypt hash."""
    return generate_password_hash(unicodedata.normalize("NFKC", password), method=_METHOD)


class User(UserMixin, Base):
    """Somebody who registered.

    `stamp` changes whenever password or address change; sessions and links that carry an older one are void.
    """

    session_token = ""  # of the session by which this user was loaded

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(EMAIL_LENGTH))
    email_key: Mapped[str] = mapped_column(binary_string(EMAIL_LENGTH), unique=True)
    username: Mapped[str] = mapped_column(sa.String(USERNAME_LENGTH))
    username_key: Mapped[str] = mapped_column(binary_string(USERNAME_LENGTH), unique=True)
    password_hash: Mapped[str] = mapped_column(sa.String(255))
    stamp: Mapped[str] = mapped_column(sa.String(32), default=new_stamp)
    confirmed: Mapped[bool] = mapped_column(default=False)
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=lambda: datetime.now(UTC))

    @validates("email", "username")
    def _keep_key(self, name: str, value: str) -> str:
        setattr(self, f"{name}_key", fold(value))
        return value

    @property
    def password(self) -> str:
        """Write only."""
        raise AttributeError("a password cannot be read, only its hash is kept; use verify_password()")

    @password.setter
    def password(self, password: str) -> None:
        self.password_hash = hash_password(password)

    def verify_password(self, password: str) -> bool:
        """Whether `password` is this user's."""
        return check_password_hash(self.password_hash, unicodedata.normalize("NFKC", password))

    def get_id(self) -> str:
        """What the session cookie carries (Flask-Login)."""
        return f"{self.id}:{self.session_token}"


class LoginSession(Base):
    """One log-in on one device. Without its row a cookie is worth nothing, wherever it was copied to."""

    __tablename__ = "login_sessions"
    __table_args__ = (sa.Index(None, "user_id"), sa.Index(None, "created_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.CHAR(64), unique=True)  # SHA-256 of the token in the cookie
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    stamp: Mapped[str] = mapped_column(sa.String(32))  # the user's at that time
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=lambda: datetime.now(UTC))


class UserName(Base):
    """A name that somebody asked for. It is not given again, whether an account came of it or not.

    Otherwise a second registration with the same name would tell whether the address of the first had an account.
    """

    __tablename__ = "user_names"

    key: Mapped[str] = mapped_column(binary_string(USERNAME_LENGTH), primary_key=True)


class LoginTry(Base):
    """A log-in attempt that failed or has not succeeded yet, or a mail that was asked for (`throttle.py`)."""

    __tablename__ = "login_tries"
    __table_args__ = (sa.Index("ix_login_tries_who", "who", "at"), sa.Index("ix_login_tries_at", "at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str] = mapped_column(sa.CHAR(64))  # SHA-256, hexadecimal
    at: Mapped[datetime] = mapped_column(UtcDateTime())


def by_email(session: Session, email: str) -> User | None:
    """The user with this address, in whatever case it is written."""
    return session.scalar(sa.select(User).where(User.email_key == fold(email)))


def by_username(session: Session, username: str) -> User | None:
    """The user with this name, in whatever case it is written."""
    return session.scalar(sa.select(User).where(User.username_key == fold(username)))


def is_name_taken(session: Session, username: str) -> bool:
    """Whether a user has this name, or somebody asked for it before."""
    return session.get(UserName, fold(username)) is not None or by_username(session, username) is not None


def open_session(session: Session, user: User) -> None:
    """Begin a log-in of `user`: from now on `get_id()` names it. The caller commits."""
    ended = sa.and_(LoginSession.user_id == user.id, LoginSession.stamp != user.stamp)
    session.execute(sa.delete(LoginSession).where(sa.or_(ended, LoginSession.created_at < _oldest_session())))
    user.session_token = secrets.token_urlsafe(32)
    session.add(LoginSession(key=_session_key(user.session_token), user_id=user.id, stamp=user.stamp))


def close_session(session: Session, user: User) -> None:
    """End the log-in by which `user` was loaded. The caller commits."""
    session.execute(sa.delete(LoginSession).where(LoginSession.key == _session_key(user.session_token)))


def by_session_id(session: Session, session_id: str) -> User | None:
    """The user whose `get_id()` this is, unless they logged out, or password or address have changed since."""
    number, _, token = session_id.partition(":")
    user = session.scalar(
        sa.select(User)
        .join(LoginSession, sa.and_(LoginSession.user_id == User.id, LoginSession.stamp == User.stamp))
        .where(LoginSession.key == _session_key(token), LoginSession.created_at > _oldest_session())
    )
    if user is None or str(user.id) != number:
        return None
    user.session_token = token
    return user


def _session_key(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _oldest_session() -> datetime:
    return datetime.now(UTC) - timedelta(days=SESSION_DAYS)


def by_stamp(session: Session, user_id: int, stamp: str) -> User | None:
    """The user with this id, if `stamp` is still the current one."""
    return session.scalar(sa.select(User).where(User.id == user_id, User.stamp == stamp))


def authenticate(session: Session, email: str, password: str) -> User | None:
    """The user with this address and password. Takes as long for an unknown address as for a wrong password."""
    user = by_email(session, email)
    if user is None:
        check_password_hash(_HASH_OF_NOBODY, unicodedata.normalize("NFKC", password))
        return None
    return user if user.verify_password(password) else None


def change_credentials(session: Session, user: User, **values: Any) -> bool:
    """Set columns of `user` and give it a new stamp, unless its stamp has changed meanwhile; then False.

    A conditional write: of two requests with the same link only one gets through.
    """
    found = session.execute(
        sa.update(User)
        .where(User.id == user.id, User.stamp == user.stamp)
        .values(stamp=new_stamp(), **values)
        .execution_options(synchronize_session=False)
    )
    if found.rowcount != 1:  # type: ignore[attr-defined]
        return False
    session.refresh(user)
    return True
