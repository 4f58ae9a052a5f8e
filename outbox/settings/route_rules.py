"""The names of transports, and the rules that choose between them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from outbox.delivery.routes import Routes, Rule
from outbox.delivery.states import Lane
from outbox.settings.shown import nearest, shown

DEFAULT = "default"
"""The transport that the `MAIL_*` settings describe."""

PREFIX = "OUTBOX_TRANSPORT_"
"""Of the settings of one transport."""

_KEYS = ("kind", "sender_domain", "recipient_domain", "priority", "transports")


def routes(names: Sequence[str], rules: Sequence[str]) -> tuple[Routes, list[str]]:
    """The rules, each given as JSON, and what is wrong with them."""
    names = tuple(names) or (DEFAULT,)
    made: list[Rule] = []
    faults: list[str] = []
    for number, given in enumerate(rules, 1):
        try:
            made.append(_rule(json.loads(given), names))
        except ValueError as problem:
            faults.append(f"OUTBOX_ROUTES, rule {number}: {problem}.")
    return Routes(names, tuple(made)), faults


def parse_names(raw: Any) -> tuple[str, ...]:
    """OUTBOX_TRANSPORTS. Raises ValueError."""
    names = re.split(r"[\s,]+", raw.strip()) if isinstance(raw, str) else raw
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"is {shown(raw)}, not a list of names")
    names = [name.strip().lower() for name in names if name.strip()]
    for name in names:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
            raise ValueError(f"holds {shown(name)}: a name is of letters, digits and _, and begins with a letter")
    if len(set(names)) < len(names):
        raise ValueError("names a transport twice")
    return tuple(names)


def parse_rules(raw: Any) -> tuple[str, ...]:
    """OUTBOX_ROUTES: each rule as JSON. Raises ValueError."""
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            raise ValueError("is not a JSON list of objects") from None
    if not isinstance(raw, list | tuple):
        raise ValueError(f"is {shown(raw)}, not a list of rules")
    try:
        return tuple(json.dumps(rule) for rule in raw)
    except TypeError:
        raise ValueError("holds something that can't be written as JSON") from None


def is_of_transport(name: str) -> bool:
    """Whether a key of the configuration belongs to one of the transports."""
    return name.startswith(PREFIX)


def _rule(given: Any, names: tuple[str, ...]) -> Rule:
    if not isinstance(given, Mapping):
        raise ValueError(f"{shown(given)} is not an object")
    for key in given:
        if key not in _KEYS:
            close = nearest(str(key), _KEYS)
            hint = f"did you mean {close}" if close else f"there are {', '.join(_KEYS)}"
            raise ValueError(f"{key!r} is not part of a rule: {hint}")
    pattern = {key: _pattern(key, given[key]) for key in _KEYS[:3] if key in given}
    priority = given.get("priority")
    if priority is not None and priority not in set(Lane):
        raise ValueError(f"the priority {priority!r} does not exist: there are {', '.join(Lane)}")
    return Rule(
        _weighted(given.get("transports"), names), **pattern, priority=None if priority is None else Lane(priority)
    )


def _pattern(key: str, given: Any) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ValueError(f"{key} is {shown(given)}, not a text such as {'newsletter-*' if key == 'kind' else '*.org'}")
    return given.strip() if key == "kind" else given.strip().lower()


def _weighted(given: Any, names: tuple[str, ...]) -> tuple[tuple[str, float | None], ...]:
    if isinstance(given, str):
        given = given.split()
    if isinstance(given, Mapping):
        weighted = [(str(name).lower(), weight) for name, weight in given.items()]
        for name, weight in weighted:
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e9:
                raise ValueError(f"the weight of {name} is {shown(weight)}, not a number from 0 up")
        if weighted and not any(weight for _, weight in weighted):
            raise ValueError("every weight is 0, so nothing could ever go by it")
    elif isinstance(given, list):
        weighted = [(str(name).lower(), None) for name in given]
    else:
        raise ValueError("it leads nowhere: give transports, a list of names or an object of names and weights")
    if not weighted:
        raise ValueError("transports is empty, so that nothing could ever go by it")
    for name, _ in weighted:
        if name not in names:
            close = nearest(name, names)
            hint = f"did you mean {close!r}" if close else f"there are {', '.join(names)}"
            raise ValueError(f"OUTBOX_TRANSPORTS does not name {name!r}: {hint}")
    if len({name for name, _ in weighted}) < len(weighted):
        raise ValueError("a transport is named twice")
    return tuple(weighted)
