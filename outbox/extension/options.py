"""The options of `enqueue`: declared once, and checked before anything is written."""

from __future__ import annotations

import inspect
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypedDict, TypeVar

from outbox.core import tracing
from outbox.core.errors import MessageError
from outbox.delivery.routes import Routes
from outbox.delivery.states import Lane, OnUncertain
from outbox.extension.flask_mail import Address
from outbox.extension.tags import tags_of
from outbox.message.values import Composed
from outbox.settings import Settings
from outbox.settings.kinds import Policy
from outbox.store import guards
from outbox.store.posting import Limit, Posting
from outbox.store.sealed_message import key_forms

LONGEST_KEY = 255  # characters
LONGEST_KIND = 64
LONGEST_METADATA = 64 * 1024  # characters of JSON

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # as JSON writes it: not after an escaped backslash
_E = TypeVar("_E", bound=StrEnum)
_F = TypeVar("_F", bound=Callable[..., Any])
_AWARE = "Give an aware datetime, such as datetime.now(UTC) + timedelta(hours=1)."


class OwnOptions(TypedDict, total=False):
    """What each message has of its own."""

    key: str | None


class SharedOptions(TypedDict, total=False):
    """What many messages may share: the options of `enqueue_many`."""

    priority: str
    send_at: datetime | None
    expires_at: datetime | None
    kind: str | None
    on_uncertain: str | None
    metadata: dict[str, Any] | None
    tags: Iterable[str] | Mapping[str, str] | None
    transport: str | None
    envelope_from: Address | None
    in_reply_to: str | None
    references: str | Iterable[str] | None
    locale: str | None
    guard: Any


class EnqueueOptions(OwnOptions, SharedOptions, total=False):
    """The options of `enqueue`."""


_DEFAULTS = {"priority": Lane.NORMAL.value, "sensitive": False}  # None for all others
_NO_POLICY = Policy("")


def takes(options: Any) -> Callable[[_F], _F]:
    """Lets `help()` show each of a function's `**options`, which are those of the TypedDict `options`."""

    def shown(function: _F) -> _F:
        signature = inspect.signature(function)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        named = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_DEFAULTS.get(name),
                annotation=getattr(hint, "__forward_arg__", hint),
            )
            for name, hint in options.__annotations__.items()
        ]
        function.__signature__ = signature.replace(parameters=[*own, *named])  # type: ignore[attr-defined]
        return function

    return shown


def check_names(options: Mapping[str, Any], known: Any, function: str) -> None:
    """Raises TypeError for one that is not in the TypedDict `known`: Python doesn't look into `**options`."""
    for name in options:
        if name not in known.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def posting(
    settings: Settings, options: EnqueueOptions, policy: Policy | None = None, *, wake: bool = False
) -> Posting:
    """How the message is to be queued: `options`, then the `policy` of its kind, then the settings.

    Raises MessageError with the field, what is wrong and the remedy.
    """
    policy = policy or _NO_POLICY
    kind = label("kind", options.get("kind"), LONGEST_KIND)
    send_at = instant("send_at", options.get("send_at"))
    expires_at = instant("expires_at", options.get("expires_at"))
    if send_at is not None and expires_at is not None and expires_at <= send_at:
        raise MessageError(
            "expires_at", f"{expires_at} is not after send_at, {send_at}", "Let the message expire after it is due."
        )
    key = label("key", options.get("key"), LONGEST_KEY)
    on_uncertain = options.get("on_uncertain")
    priority = options.get("priority", policy.priority or Lane.NORMAL)
    lane = priority if isinstance(priority, Lane) else _choice("priority", priority, Lane)
    posted = Posting(
        environment=settings.environment,
        key=key,
        kind=kind,
        category=policy.category,
        address_key=settings.address_digest_key,
        lane=lane,
        send_at=send_at,
        expires_at=expires_at,
        limit=Limit(policy.throttle, policy.replace is not None) if policy.is_limited else None,
        max_age=policy.max_age or settings.max_age_seconds,
        on_uncertain=(
            settings.on_uncertain_for(kind, policy.on_uncertain)
            if on_uncertain is None
            else _choice("on_uncertain", on_uncertain, OnUncertain)
        ),
        metadata=_metadata(options.get("metadata")),
        tags=tags_of(options.get("tags")),
        guard=_guard(options.get("guard")),
        route=_route(settings.routes, options.get("transport") or policy.transport, kind, lane),
        wake=wake,
        trace=tracing.carrier(),
    )
    return posted if settings.keyring is None else _sealed(posted, settings, policy)


def _sealed(posted: Posting, settings: Settings, policy: Policy) -> Posting:
    """`posted`, with the keyring where mail of its kind is sealed."""
    keyring = settings.keyring if settings.seals(posted.kind, policy) else None
    if posted.key is None:
        return replace(posted, keyring=keyring)
    clear, hashed = key_forms(posted.key, settings.address_digest_key)
    if keyring is None:
        return replace(posted, also_key=hashed)
    return replace(posted, keyring=keyring, key=hashed, clear_key=clear, also_key=clear)


def check_alone(posted: Posting, composed: Composed) -> None:
    """Raises MessageError for several recipients, where a limit goes by recipient."""
    if posted.limit is not None and len(composed.recipients) > 1:
        raise MessageError(
            "recipients",
            f"are {len(composed.recipients)}, and the kind {posted.kind!r} has throttle or replace, which go by "
            "recipient",
            "Enqueue a message for each of them.",
        )


def _guard(value: Any) -> Any:
    if value is not None:
        guards.check(value)
    return value


def _route(routes: Routes, transport: str | None, kind: str | None, lane: Lane) -> Callable[[str, str], str] | None:
    """How a recipient's route is found; None: every delivery may go by all transports."""
    if transport is not None:
        name = str(transport).lower()
        if name not in routes.order:
            known = ", ".join(routes.order)
            raise MessageError("transport", f"is {name[:80]!r}, which does not exist", f"Choose from {known}.")
        return lambda sender, domain: name
    if not routes.rules:
        return None
    return lambda sender, domain: routes.route(kind, sender, domain, lane, random.random())  # noqa: S311 - no secret


def label(field: str, value: Any, longest: int) -> str | None:
    """A text that people read, such as a key; None where there is none. Raises MessageError."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise MessageError(field, f"is of type {type(value).__name__}", "Give a text, or leave it out.")
    if not value or not value.isprintable() or value != value.strip():
        raise MessageError(
            field,
            f"is {value[:80]!r}: empty, with a control character, or with spaces around it",
            "Give printable text without spaces around it, or leave it out.",
        )
    if len(value) > longest:
        raise MessageError(field, f"has {len(value)} characters", f"Give at most {longest}, a hash of it for instance.")
    return value


def _choice(field: str, value: Any, choices: type[_E]) -> _E:
    try:
        return choices(value)
    except ValueError:
        known = ", ".join(str(choice) for choice in choices)
        raise MessageError(field, f"is {str(value)[:80]!r}, which does not exist", f"Choose from {known}.") from None


def instant(field: str, value: Any) -> datetime | None:
    """A point in time, in UTC; None where there is none. Raises MessageError for one without a zone."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise MessageError(field, f"is of type {type(value).__name__}, not a datetime", _AWARE)
    if value.utcoffset() is None:
        raise MessageError(field, f"{value} is naive: nobody knows which time zone it is in", _AWARE)
    try:
        instant = value.astimezone(UTC)
    except OverflowError:
        raise MessageError(field, f"{value} is out of range", "Give a date that databases know.") from None
    if not 1970 <= instant.year <= 9998:
        raise MessageError(field, f"{value} is out of range", "Give a date between 1970 and 9998.")
    return instant


def _metadata(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    remedy = "Give a dictionary of texts, numbers, truth values, None, lists and dictionaries, with texts as keys."
    if not isinstance(value, dict):
        raise MessageError("metadata", f"is of type {type(value).__name__}", remedy)
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise MessageError("metadata", f"cannot be written as JSON ({problem})", remedy) from None
    if len(text) > LONGEST_METADATA:
        raise MessageError("metadata", f"has {len(text):,} characters as JSON", f"Give at most {LONGEST_METADATA:,}.")
    kept: dict[str, Any] = json.loads(text)  # a copy: what the caller changes later is not what was enqueued
    if _NUL.search(text):
        raise MessageError("metadata", "holds a NUL character", "Take it out: not every database can store it.")
    return kept
