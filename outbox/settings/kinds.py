"""The policy of a kind of message: what `mail.kind(name, …)` says, checked once, read wherever it applies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, TypedDict

from outbox.core.errors import ConfigurationError, MessageError
from outbox.delivery.states import Lane, OnUncertain
from outbox.delivery.throttle import Throttle, parse
from outbox.settings.shown import nearest, shown
from outbox.settings.staging_values import COPY
from outbox.settings.values import FLAG, HEADERS, POLICY, SECONDS, SECONDS_OR_NONE, SENDER, choice, text, whole

Address = str | tuple[str, str]


class Category(StrEnum):
    """What a kind of mail is for."""

    SECURITY = "security"  # resets, log-in codes, warnings
    RECEIPT = "receipt"  # what somebody bought, booked or signed
    NOTIFICATION = "notification"  # something has happened
    SUBSCRIPTION = "subscription"  # sent to all who asked for it


TEST_MAIL = "test-mail"
"""What `outbox-test-mail` sends, which no application has to define."""

_SHARES = ("canary", "canary_limit")


class KindOptions(TypedDict, total=False):
    """The options of `mail.kind`."""

    category: str | None
    priority: str | None
    max_age: float | None
    on_uncertain: str | None
    transport: str | None
    sensitive: bool
    sender: Address | None
    reply_to: Address | None
    headers: Mapping[str, str] | None
    throttle: str | None
    replace: str | None
    attempts: int | None
    retry_first: float | None
    retry_max: float | None
    retention: float | None
    canary: float | None
    canary_limit: float | None
    canary_wait: float | None
    failed_text: float | None
    title: object
    always_bcc: str | bool | None


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for the mail of one kind; None where the settings decide."""

    name: str
    category: Category | None = None
    priority: Lane | None = None
    max_age: float | None = None  # seconds after it is due
    on_uncertain: OnUncertain | None = None
    transport: str | None = None  # its name
    sensitive: bool = False  # its text is removed once it was sent, and its recipient can't be corrected
    sender: Address | None = None
    reply_to: Address | None = None
    headers: tuple[tuple[str, str], ...] = ()
    throttle: Throttle | None = None
    replace: str | None = None  # "queued": the newest replaces those that are still queued
    attempts: int | None = None  # counted ones, after which it has failed
    retry_first: float | None = None  # seconds to wait after the first attempt that was deferred
    retry_max: float | None = None  # seconds: the longest wait between two
    retention: float | None = None  # seconds after its end until it is purged
    failed_text: float | None = None  # seconds after which what failed mail of a sensitive kind said is removed
    canary: float | None = None  # share of a batch that is sent first
    canary_limit: float | None = None  # share of that which may go wrong before the batch is paused
    canary_wait: float | None = None  # seconds after the canary's end, for bounces to come in
    title: object = None  # for the people who get it; a text, or a lazy one
    always_bcc: str | bool | None = None  # who gets a copy; True: as the settings say; False: nobody

    @property
    def label(self) -> str:
        """What people read: the title, or else the name."""
        return str(self.title or self.name)

    def copy_to(self, general: str | None) -> str | None:
        """Who gets a copy of each message; `general`: as the settings say."""
        if isinstance(self.always_bcc, str):
            return self.always_bcc
        secret = self.sensitive or self.category is Category.SECURITY
        return general if self.always_bcc or (self.always_bcc is None and not secret) else None

    @property
    def is_redacted(self) -> bool:
        """Whether what it said is removed from the database."""
        return self.sensitive or self.category is Category.SECURITY

    @property
    def is_limited(self) -> bool:
        """Whether a new message depends on those that its recipient got before."""
        return self.throttle is not None or self.replace is not None

    @property
    def retries_by_itself(self) -> bool:
        """Whether it is tried again otherwise than the settings say."""
        return any(one is not None for one in (self.attempts, self.retry_first, self.retry_max))

    @property
    def words(self) -> list[tuple[str, str]]:
        """What it says, as pairs of option and value; without what it leaves to the settings."""
        said = [(one.name, getattr(self, one.name)) for one in fields(self) if one.name != "name"]
        return [(name, _word(name, value)) for name, value in said if value not in (None, False, ())]


def policy(name: object, options: Mapping[str, Any]) -> Policy:
    """The policy that `options` say. Raises ConfigurationError with all faults, TypeError for an unknown option."""
    known = KindOptions.__annotations__
    for option in options:
        if option not in known:
            raise TypeError(
                f"kind() got an unexpected keyword argument {option!r}.{_suggestion(option, known)} "
                f"Known are {', '.join(known)}."
            )
    faults = []
    try:
        name = _name(name)
    except ValueError as error:
        faults.append(f"kind {shown(name)}: its name {error}.")
    values: dict[str, Any] = {}
    for option, given in options.items():
        if given is None:
            continue
        try:
            values[option] = _FORMS[option](given)
        except ValueError as error:
            faults.append(f"kind {shown(name)}: {option} {str(error).rstrip('.')}.")
    if values.get("retry_first", 0.0) > values.get("retry_max", math.inf):
        faults.append(f"kind {shown(name)}: retry_first is longer than retry_max, the longest wait.")
    if faults:
        raise ConfigurationError(faults)
    return Policy(str(name), **values)


def nowhere(defined: Policy, transports: Sequence[str]) -> str | None:
    """What is wrong where a kind's mail is to go by none of these transports."""
    name = defined.transport
    if name is None or name.lower() in transports:
        return None
    hint = _suggestion(name.lower(), transports).strip() or f"There are {', '.join(transports)}."
    return f"kind {shown(defined.name)}: OUTBOX_TRANSPORTS does not name its transport, {name!r}. {hint}"


def unknown_kind(name: str, known: Iterable[str]) -> MessageError:
    """What is to be said of a kind that nobody defined, where OUTBOX_KINDS_STRICT asks for that."""
    known = sorted(known)
    listed = f"Defined are {', '.join(known)}" if known else "None is defined"
    return MessageError(
        "kind",
        f"{name!r} is not defined, and OUTBOX_KINDS_STRICT is set",
        f"{_suggestion(name, known)} {listed}: define it with mail.kind({name!r}, …).".strip(),
    )


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f" Did you mean {close!r}?" if close else ""


def _name(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"is {shown(given)}, not a text")
    if not given or given != given.strip():
        raise ValueError("is empty, or has spaces around it: give a label such as password-reset")
    return str(text(64).parse(given))


def _title(given: Any) -> Any:
    """A lazy text (`lazy_gettext`) stays lazy: each page has it in its reader's language."""
    return given if hasattr(type(given), "__html__") and not isinstance(given, str) else text(100).parse(given)


def _throttle(given: Any) -> Throttle:
    if not isinstance(given, str):
        raise ValueError(f"is {shown(given)}, not a text such as 3/hour")
    return parse(given)


def _share(given: Any) -> float:
    try:
        share = float(given)
    except (TypeError, ValueError):
        share = -1.0
    if isinstance(given, bool) or not 0.0 < share <= 1.0:
        raise ValueError(f"is {shown(given)}, not a share above 0 and up to 1, such as 0.01")
    return share


_FORMS: dict[str, Callable[[Any], Any]] = {
    "category": lambda given: Category(choice(*Category).parse(given)),
    "priority": lambda given: Lane(choice(*Lane).parse(given)),
    "max_age": SECONDS.parse,
    "on_uncertain": POLICY.parse,
    "transport": text(32).parse,
    "sensitive": FLAG.parse,
    "sender": SENDER.parse,
    "reply_to": SENDER.parse,
    "headers": HEADERS.parse,
    "throttle": _throttle,
    "replace": choice("queued").parse,
    "attempts": whole(1, 1000).parse,
    "retry_first": SECONDS.parse,
    "retry_max": SECONDS.parse,
    "retention": SECONDS.parse,
    "canary": _share,
    "canary_limit": _share,
    "canary_wait": SECONDS.parse,
    "failed_text": SECONDS_OR_NONE.parse,
    "title": _title,
    "always_bcc": lambda given: given if isinstance(given, bool) else COPY.parse(given),
}


def _word(name: str, value: Any) -> str:
    if value is True:
        return "yes"
    if isinstance(value, float):
        return f"{100 * value:g} %" if name in _SHARES else f"{value:g} s"
    if isinstance(value, tuple):
        pairs = [": ".join(one) if isinstance(one, tuple) else str(one) for one in value]
        return ", ".join(pairs) if isinstance(value[0], tuple) else f"{value[0]} <{value[1]}>"
    return str(value)
