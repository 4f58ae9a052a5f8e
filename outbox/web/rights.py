"""Who may do what on the pages. Each right is denied unless the application grants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import Any

from flask import abort, g
from flask.typing import ResponseReturnValue

from outbox.core.loggers import get_logger

log = get_logger("outbox.web")

Check = Callable[[], bool]
Actor = Callable[[], str | None]
View = Callable[..., ResponseReturnValue]


class Right(StrEnum):
    """What may be allowed or denied on its own."""

    VIEW = "view"
    READ_BODIES = "read bodies"
    ACT = "act"
    SEND_NOW = "send now"
    ERASE = "erase a person"


UNKNOWN = "?"
"""The name of a user who has none."""


def nobody() -> bool:
    """The default check."""
    return False


def no_name() -> None:
    """The default actor."""


@dataclass(frozen=True, slots=True)
class Rights:
    """The application's checks, called in each request."""

    may_view: Check = nobody
    may_read_bodies: Check = nobody
    may_act: Check = nobody
    actor: Actor = no_name
    may_send_now: Check = nobody
    may_erase: Check = nobody

    def may(self, right: Right) -> bool:
        """Whether this request has `right`; reading and acting count only together with viewing."""
        check = {
            Right.VIEW: self.may_view,
            Right.READ_BODIES: self.may_read_bodies,
            Right.ACT: self.may_act,
            Right.SEND_NOW: self.may_send_now,
            Right.ERASE: self.may_erase,
        }[right]
        return granted(self.may_view, Right.VIEW) and (right is Right.VIEW or granted(check, right))

    def guard(self, view: View, *needed: Right) -> View:
        """`view`, answered with 403 where the request lacks one of the rights it needs."""
        if not needed:
            raise ValueError(f"{view.__name__}: say which right it needs")

        @wraps(view)
        def guarded(**kwargs: Any) -> ResponseReturnValue:
            g.outbox_rights = self  # the page of a refusal, too, names the user and links to other pages
            for right in needed:
                if not self.may(right):
                    abort(403, f"You don't have the right to {right} here.")
            return view(**kwargs)

        return guarded


def granted(check: Check, right: Right) -> bool:
    """Whether the check says yes. An AttributeError counts as no: a visitor who is not logged in has no `is_admin`."""
    try:
        return bool(check())
    except AttributeError as error:
        log.warning("the check for the right to %s counts as no: %s", right, error)
        return False


def may(right: Right) -> bool:
    """Whether the request at hand has `right`. False where no view was reached."""
    rights: Rights | None = g.get("outbox_rights")
    return rights is not None and rights.may(right)


def actor() -> str:
    """The name under which the request's changes are kept; "?" where the application gives none."""
    rights: Rights = g.outbox_rights
    return (rights.actor() or "").strip() or UNKNOWN
