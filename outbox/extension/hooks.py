"""What the application does to each message before it is enqueued: change it, or refuse it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import flask_mail

from outbox.core.errors import MessageError, RefusedError
from outbox.extension.options import EnqueueOptions, check_names
from outbox.message.coerce import kind_of

Hook = Callable[[flask_mail.Message, dict[str, Any]], None]
H = TypeVar("H", bound=Hook)

_LISTS = ("recipients", "cc", "bcc", "attachments", "extra_headers", "alts", "mail_options", "rcpt_options")


def prepared(
    hooks: Iterable[Hook], message: flask_mail.Message, options: EnqueueOptions
) -> tuple[flask_mail.Message, EnqueueOptions]:
    """`message` and `options` as the hooks leave them, in their order; the caller's own stay as they are.

    What a hook raises comes through. Raises MessageError for what is not a message, TypeError for a hook that returns
    something: it may mean to refuse, and nobody would notice.
    """
    if not isinstance(message, flask_mail.Message):
        raise MessageError("message", f"is {kind_of(message)}", "Give a flask_mail.Message.")
    made, given = _own(message), cast(dict[str, Any], dict(options))
    for hook in hooks:
        returned: object = cast(Callable[..., object], hook)(made, given)
        if returned is not None:
            raise TypeError(
                f"The before_enqueue hook {_name(hook)} returned a {type(returned).__name__}. Change the message in "
                f"place, or raise {RefusedError.__name__} to refuse it, and return nothing."
            )
    check_names(given, EnqueueOptions, "enqueue")
    return made, cast(EnqueueOptions, given)


def _own(message: flask_mail.Message) -> flask_mail.Message:
    """A copy with lists of its own, so that an object that is enqueued twice is not changed twice."""
    made = copy.copy(message)
    for name in _LISTS:
        value = getattr(made, name, None)
        if isinstance(value, list | dict):
            setattr(made, name, copy.copy(value))
    return made


def _name(hook: Hook) -> str:
    return getattr(hook, "__qualname__", repr(hook))
