"""What goes into a message besides what it says itself: headers for all messages, the thread that it belongs to."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import flask_mail

from outbox.core.errors import MessageError
from outbox.extension import subscription
from outbox.extension.draft import builds_its_bytes
from outbox.extension.flask_mail import Message
from outbox.extension.locales import tag_of
from outbox.extension.options import EnqueueOptions
from outbox.message.coerce import is_empty, pairs_of, text_of
from outbox.message.message_ids import check_message_id
from outbox.settings import Settings
from outbox.settings.kinds import Address, Policy


def with_adds(
    message: flask_mail.Message,
    settings: Settings,
    options: EnqueueOptions,
    policy: Policy | None = None,
    language: str | None = None,
) -> flask_mail.Message:
    """`message`, or a copy of it with OUTBOX_REPLY_TO, OUTBOX_HEADERS, In-Reply-To and References where they apply.

    What the message says itself goes before the `policy` of its kind, and that before the settings; the options go
    before what it says. `language`: as `language_of` gives it. Raises MessageError.
    """
    thread = _thread(options.get("in_reply_to"), options.get("references"))
    headers, reply_to = dict(settings.headers), settings.reply_to
    if policy is not None and isinstance(message, flask_mail.Message):
        named = {name.lower() for name, _ in policy.headers}
        headers = {**{name: of for name, of in headers.items() if name.lower() not in named}, **dict(policy.headers)}
        reply_to = policy.reply_to or reply_to
        message = _from(policy.sender, message, settings.default_sender)
    if language is not None:
        headers = {
            **{name: of for name, of in headers.items() if name.lower() != "content-language"},
            "Content-Language": language,
        }
    may_unsubscribe = subscription.can_be_left(policy, settings)
    if not (thread or headers or reply_to or may_unsubscribe) or not isinstance(message, flask_mail.Message):
        return message
    given: Any = message.extra_headers
    pairs = [] if is_empty(given) else pairs_of(given, "extra_headers")
    own = [(text_of(name, "extra_headers"), value) for name, value in pairs]
    taken = {name.lower() for name, _ in own}
    if may_unsubscribe and not builds_its_bytes(message):
        named = taken | {name.lower() for name in headers}
        headers = {**subscription.headers(message, settings, policy, named), **headers}
    made = copy.copy(message)
    merged: Any = [
        *((name, value) for name, value in headers.items() if name.lower() not in taken | thread.keys()),
        *((name, value) for name, value in own if name.lower() not in thread),
        *((_NAMES[name], value) for name, value in thread.items()),
    ]
    repeated = len({name for name, _ in merged}) < len(merged)  # pairs may say X-Tag twice
    made.extra_headers = merged if repeated else dict(merged)
    if reply_to is not None and is_empty(made.reply_to) and "reply-to" not in taken:
        made.reply_to = reply_to
    return made


def language_of(message: flask_mail.Message, options: EnqueueOptions) -> str | None:
    """The language tag of `message`; None where nothing says it. Raises MessageError."""
    given: object = options.get("locale")
    if given is None and isinstance(message, Message):
        given = message.locale
    return None if given is None else tag_of(given)


def _from(sender: Address | None, message: flask_mail.Message, default: Address | None) -> flask_mail.Message:
    """`message`, or a copy of it from `sender`, where it has none but the default."""
    if sender is None or not (is_empty(message.sender) or message.sender in (default, _written(default))):
        return message
    if builds_its_bytes(message):
        return message
    made = copy.copy(message)
    made.sender = sender
    return made


def _written(sender: Address | None) -> str | None:
    """As `Message` keeps it."""
    return f"{sender[0]} <{sender[1]}>" if isinstance(sender, tuple) else sender


_NAMES = {"in-reply-to": "In-Reply-To", "references": "References"}


def _thread(in_reply_to: str | None, references: str | Iterable[str] | None) -> dict[str, str]:
    """By header in lower case. An answer refers to what it answers (RFC 5322 §3.6.4)."""
    answered = [] if in_reply_to is None else _ids(in_reply_to, "in_reply_to")
    referred = [] if references is None else _ids(references, "references")
    referred += [one for one in answered if one not in referred]
    thread = {"in-reply-to": " ".join(answered), "references": " ".join(referred)}
    return {name: value for name, value in thread.items() if value}


def _ids(given: str | Iterable[str], field: str) -> list[str]:
    words = given.split() if isinstance(given, str) else list(given)
    if not all(isinstance(word, str) for word in words):
        raise MessageError(field, "holds what is not a text", "Give Message-IDs, such as <unique@example.org>.")
    return [check_message_id(word if word.startswith("<") else f"<{word}>", field) for word in words]
