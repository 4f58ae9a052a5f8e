"""Errors as code written for Flask-Mail catches them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import flask_mail

from outbox.core import errors


class BadHeaderError(errors.BadHeaderError, flask_mail.BadHeaderError):
    """A header, display name or attachment name contains a line break or another forbidden character."""


@contextmanager
def as_in_flask_mail() -> Iterator[None]:
    """Raises this module's BadHeaderError, which is Flask-Mail's too, for that of the package. Also a decorator."""
    try:
        yield
    except BadHeaderError:
        raise
    except errors.BadHeaderError as error:
        ours = BadHeaderError(error.field, error.problem, error.remedy)
        raise ours.with_traceback(error.__traceback__) from error.__cause__
