"""What is wrong with a configuration: faulty values, and keys that do not exist."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

from outbox.settings.of_preset import of_preset
from outbox.settings.route_rules import DEFAULT, is_of_transport, named_transports
from outbox.settings.route_rules import PREFIX as TRANSPORT_PREFIX
from outbox.settings.shown import nearest
from outbox.settings.spec import Spec
from outbox.settings.table import Table, specs
from outbox.settings.values import boolean, is_unset

PREFIX = "OUTBOX_"
MAIL_PREFIX = "MAIL_"

_LONG_NAME = 8  # letters after the prefix, from which on two mistakes still tell what is meant
_NUMBERED = re.compile(r"\d$")
_NAMES_ELSEWHERE = {
    "MAIL_HOST": "MAIL_SERVER",
    "MAIL_SMTP_SERVER": "MAIL_SERVER",
    "MAIL_USER": "MAIL_USERNAME",
    "MAIL_PASS": "MAIL_PASSWORD",
    "MAIL_FROM": "MAIL_DEFAULT_SENDER",
    "MAIL_SENDER": "MAIL_DEFAULT_SENDER",
    "MAIL_TLS": "MAIL_USE_TLS",
    "MAIL_STARTTLS": "MAIL_USE_TLS",
    "MAIL_USE_STARTTLS": "MAIL_USE_TLS",
    "MAIL_SSL": "MAIL_USE_SSL",
    "MAIL_SSL_TLS": "MAIL_USE_SSL",
}

_SHARE_OF_LEASE = 0.8
_HEARTBEATS_TILL_DEAD = 4


def read(config: Mapping[str, Any]) -> tuple[dict[str, Any], set[str], list[str]]:
    """What is set, by field; the fields whose value is faulty; the faults."""
    given: dict[str, Any] = {}
    broken: set[str] = set()
    faults: list[str] = []
    for declared in fields(Table):
        try:
            value = _value(declared, config)
        except ValueError as problem:
            broken.add(declared.name)
            faults.append(str(problem))
        else:
            if value is not None:
                given[declared.name] = value
    return given, broken, faults


def derived(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults that depend on the application, or on another setting, by field."""
    plain = Table()
    testing, debug = _flag(config.get("TESTING")), _flag(config.get("DEBUG"))
    lease = given.get(
        "lease_seconds", max(plain.lease_seconds, given.get("send_timeout_seconds", 0.0) / _SHARE_OF_LEASE)
    )
    heartbeat = given.get(
        "heartbeat_seconds",
        min(plain.heartbeat_seconds, given.get("dead_after_seconds", math.inf) / _HEARTBEATS_TILL_DEAD),
    )
    return {
        **of_preset(given),
        "debug": int(debug),
        "suppress_send": testing,
        "lease_seconds": lease,
        "send_timeout_seconds": min(plain.send_timeout_seconds, lease * _SHARE_OF_LEASE),
        "heartbeat_seconds": heartbeat,
        "dead_after_seconds": heartbeat * _HEARTBEATS_TILL_DEAD,
        "retry_first_seconds": min(plain.retry_first_seconds, given.get("retry_max_seconds", plain.retry_max_seconds)),
        "retry_max_seconds": max(plain.retry_max_seconds, given.get("retry_first_seconds", 0.0)),
        "probe_seconds": min(plain.probe_seconds, given.get("probe_max_seconds", plain.probe_max_seconds)),
        "probe_max_seconds": max(plain.probe_max_seconds, given.get("probe_seconds", 0.0)),
    }


def uncommitted(config: Mapping[str, Any]) -> str:
    """What OUTBOX_UNCOMMITTED says now; the default where it is not set, or not valid any more."""
    declared = next(one for one in fields(Table) if one.name == "uncommitted")
    try:
        value = _value(declared, config)
    except ValueError:
        value = None
    return str(declared.default if value is None else value)


def in_development(config: Mapping[str, Any]) -> bool:
    """Whether TESTING or DEBUG is on now."""
    return _flag(config.get("TESTING")) or _flag(config.get("DEBUG"))


def unknown(config: Mapping[str, Any]) -> Iterator[str]:
    """A fault for each OUTBOX_* key that does not exist, and for each MAIL_* key that is a known one misspelt."""
    known = [name for spec in specs() for name in spec.names if name.startswith(PREFIX)]
    for name in config:
        if name.upper().startswith(PREFIX) and name not in known and not is_of_transport(name):
            close = _meant(name.upper(), known, config)
            hint = f"Did you mean {close}?" if close else "docs/configuration.md lists all settings."
            yield f"{name} is not a setting of the outbox. {hint}"
        elif (meant := misspelt(name)) is not None and not is_unset(config[name]) and is_unset(config.get(meant)):
            yield f"{name} is not a setting of Flask-Mail or the outbox. Did you mean {meant}?"


def _meant(name: str, known: Sequence[str], config: Mapping[str, Any]) -> str | None:
    """The OUTBOX_* setting that `name` may be a slip of."""
    if name in known:
        return name
    bare = name.removeprefix(PREFIX)
    if bare.startswith("TRANSPORTS_"):
        return f"{TRANSPORT_PREFIX}{bare.removeprefix('TRANSPORTS_')}"
    if any(bare.startswith(f"{transport.upper()}_") for transport in named_transports(config)):
        return f"{TRANSPORT_PREFIX}{bare}"
    longer = [one for one in known if one.startswith(f"{name}_")]
    inner = [one for one in known if bare.endswith(f"_{one.removeprefix(PREFIX)}")]
    if longer or inner:
        return min(longer, key=len) if longer else max(inner, key=len)
    close = nearest(bare, [one.removeprefix(PREFIX) for one in known], cutoff=0.75)
    return close and f"{PREFIX}{close}"


_OF_DEFAULT = (
    *("MAIL_SERVER", "MAIL_PORT", "MAIL_USE_TLS", "MAIL_USE_SSL", "MAIL_USERNAME", "MAIL_PASSWORD"),
    *("OUTBOX_PRESET", "OUTBOX_ALLOW_PLAINTEXT", "OUTBOX_PIPELINING", "OUTBOX_EHLO_IGNORE"),
)


def remarks(config: Mapping[str, Any]) -> Iterator[str]:
    """What may be a mistake: MAIL_* keys that other packages use for what is not set here under its own name."""
    for name, meant in _NAMES_ELSEWHERE.items():
        if not is_unset(config.get(name)) and is_unset(config.get(meant)):
            yield f"{name} is set, which the outbox does not read, and {meant} is not: did you mean that?"
    for name in config:
        meant = name.upper()
        if name != meant and meant.startswith(MAIL_PREFIX) and not is_unset(config[name]) and meant in _mail_names():
            yield f"{name} is set, which nobody reads: the names of settings are in capitals, {meant}"
    transports = named_transports(config)
    left = [name for name in _OF_DEFAULT if not is_unset(config.get(name))]
    if left and transports and DEFAULT not in transports:
        yield (
            f"{', '.join(left)} {'has' if len(left) == 1 else 'have'} no effect: OUTBOX_TRANSPORTS does not name "
            "default, the transport that they are about"
        )


def unread_words(names: Sequence[str]) -> str:
    """That these settings are in the environment, where nobody reads them, with the line that fixes it."""
    return (
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} in the environment and not in app.config, which is "
        "all that the outbox reads. After `from outbox import Settings`, call "
        "`app.config.update(Settings.from_env(os.environ))` before init_app"
    )


def misspelt(name: str) -> str | None:
    """The MAIL_* setting that `name` is meant to be, by its spelling; None for other packages' keys and known ones.

    One letter wrong, missing, too many or exchanged, in long names two. MAIL_SUBJECT_PREFIX and the like are far from
    any, and a number at the end tells a second account's key.
    """
    if not name.startswith(MAIL_PREFIX) or _NUMBERED.search(name):
        return None
    known = _mail_names()
    if name in known:
        return None
    distance, _, close = min((_distance(name, one), sorted(name) != sorted(one), one) for one in known)
    return close if distance <= (2 if len(close) - len(MAIL_PREFIX) >= _LONG_NAME else 1) else None


def _mail_names() -> list[str]:
    return [one for spec in specs() for one in spec.names if one.startswith(MAIL_PREFIX)]


def _value(declared: Field[Any], config: Mapping[str, Any]) -> Any:
    """The parsed value, None if unset. Raises ValueError with the fault."""
    spec: Spec = declared.metadata["spec"]
    set_names = [
        name
        for name in spec.names
        if not is_unset(config.get(name)) or (spec.form.blank and config.get(name) is not None)
    ]
    values = []
    for name in set_names:
        try:
            values.append(spec.form.parse(config[name]))
        except ValueError as problem:
            raise ValueError(f"{name} {problem}.") from None
    if len(values) > 1 and values[0] != values[1]:
        raise ValueError(f"{set_names[0]} and {set_names[1]} differ, but they mean the same. Set one of them.")
    return values[0] if values else None


def _distance(one: str, other: str) -> int:
    """How many letters have to be changed, added, taken out, or exchanged with their neighbour."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def _flag(raw: Any) -> bool:
    try:
        return not is_unset(raw) and boolean(raw)
    except ValueError:
        return bool(raw)
