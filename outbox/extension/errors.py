"""Errors as code written for Flask-Mail catches them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import flask_mail

from outbox.core import errors

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
