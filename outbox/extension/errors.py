"""Errors as code written for Flask-Mail catches them, and what the database's mean."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

import flask_mail
import sqlalchemy as sa

from outbox.core import errors
from outbox.store.autocommit import READ_ONLY
from outbox.store.databases import is_read_only

P = ParamSpec("P")
R = TypeVar("R")


class BadHeaderError(errors.BadHeaderError, flask_mail.BadHeaderError):
    """A header, display name or attachment name contains a line break or another forbidden character."""


def as_in_flask_mail(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which raises this module's BadHeaderError, which is Flask-Mail's too, for that of the package."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BadHeaderError:
            raise
        except errors.BadHeaderError as error:
            ours = BadHeaderError(error.field, error.problem, error.remedy)
            raise ours.with_traceback(error.__traceback__) from error.__cause__

    return called


class Explained:
    """Raises what the database's errors mean for mail."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, of: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not isinstance(error, sa.exc.StatementError):
            return
        error.hide_parameters = True  # they are the mail
        if lacks_tables(error):
            raise not_migrated() from error
        if is_read_only(error):
            raise errors.DatabaseError(f"Mail can't be written: {READ_ONLY}") from error


EXPLAINED = Explained()


def lacks_tables(error: sa.exc.StatementError) -> bool:
    """Whether the outbox's tables are missing."""
    said = str(error.orig).lower()
    return "outbox_" in said and any(words in said for words in ("no such table", "does not exist", "doesn't exist"))


def not_migrated() -> errors.SchemaError:
    """What to raise then."""
    from outbox.store.schema import REMEDY  # not at the top: Alembic is slow to import, and a request has no need of it

    return errors.SchemaError(f"The database lacks the outbox's tables. {REMEDY}")
