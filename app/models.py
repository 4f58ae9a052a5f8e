"""The application's tables: its users, and who tried to be one."""

from __future__ import annotations

import functools
import secrets
import unicodedata
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from flask_login import UserMixin
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, validates
from werkzeug.security import check_password_hash, generate_password_hash

from app.db import UtcDateTime, binary_string

EMAIL_LENGTH = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
USERNAME_LENGTH = 64


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


def fold(name: str) -> str:
    """The form in which two e-mail addresses or two user names are compared."""
    return unicodedata.normalize("NFC", name).lower()


def new_stamp() -> str:
    """A fresh value for `User.stamp`."""
    return secrets.token_hex(16)


def hash_password(password: str) -> str:
    """A salted scrypt hash."""
    return generate_password_hash(unicodedata.normalize("NFKC", password))


class User(UserMixin, Base):
    """Somebody who registered.

    `stamp` changes whenever password or address change; sessions and links that carry an older one are void.
    """

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
        return f"{self.id}:{self.stamp}"


class LoginTry(Base):
    """A try to log in that failed, or has not succeeded yet (`throttle.py`)."""

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


def by_session_id(session: Session, session_id: str) -> User | None:
    """The user whose `get_id()` this is, unless password or address have changed since."""
    number, _, stamp = session_id.partition(":")
    if not number.isascii() or not number.isdigit():
        return None
    return by_stamp(session, int(number), stamp)


def by_stamp(session: Session, user_id: int, stamp: str) -> User | None:
    """The user with this id, if `stamp` is still the current one."""
    return session.scalar(sa.select(User).where(User.id == user_id, User.stamp == stamp))


def authenticate(session: Session, email: str, password: str) -> User | None:
    """The user with this address and password. Takes as long for an unknown address as for a wrong password."""
    user = by_email(session, email)
    if user is None:
        check_password_hash(_hash_of_nobody(), password)
        return None
    return user if user.verify_password(password) else None


@functools.cache
def _hash_of_nobody() -> str:
    return generate_password_hash(secrets.token_hex())


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
