"""The names of transports, and the rules that choose between them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from outbox.delivery.routes import Routes, Rule, covers
from outbox.delivery.states import Lane
from outbox.settings.shown import nearest, shown

DEFAULT = "default"
"""The transport that the `MAIL_*` settings describe."""

PREFIX = "OUTBOX_TRANSPORT_"
"""Of the settings of one transport."""

_LONGEST_KIND = 64

_KEYS = ("kind", "sender_domain", "recipient_domain", "priority", "transports")


def routes(names: Sequence[str], rules: Sequence[str]) -> tuple[Routes, list[str]]:
    """The rules, each given as JSON, and what is wrong with them."""
    names = tuple(names) or (DEFAULT,)
    made: list[Rule | None] = []
    faults: list[str] = []
    for number, given in enumerate(rules, 1):
        try:
            rule = _rule(json.loads(given), names)
            before = next(
                (one for one, earlier in enumerate(made, 1) if earlier is not None and covers(earlier, rule)), 0
            )
            if before:
                raise ValueError(f"nothing ever goes by it, since all that fits it fits rule {before}: put it first")
            made.append(rule)
        except ValueError as problem:
            made.append(None)
            faults.append(f"OUTBOX_ROUTES, rule {number}: {problem}.")
    return Routes(names, tuple(rule for rule in made if rule is not None)), faults


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
        except ValueError as problem:
            raise ValueError(f"is not a JSON list of objects: {str(problem)[:1].lower()}{str(problem)[1:]}") from None
    if isinstance(raw, Mapping):
        raise ValueError(f"is {shown(raw)}, not a list of rules: put it into [ ]")
    if not isinstance(raw, list | tuple):
        raise ValueError(f"is {shown(raw)}, not a list of rules")
    try:
        return tuple(json.dumps(rule) for rule in raw)
    except TypeError:
        raise ValueError("holds something that can't be written as JSON") from None


def named_transports(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that OUTBOX_TRANSPORTS names, as far as it can be read."""
    try:
        return parse_names(config.get("OUTBOX_TRANSPORTS") or "")
    except ValueError:
        return ()


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
        close = nearest(str(priority).lower(), Lane)
        hint = f"did you mean {close}" if close else f"there are {', '.join(Lane)}"
        raise ValueError(f"the priority {priority!r} does not exist: {hint}")
    return Rule(
        _weighted(given.get("transports"), names), **pattern, priority=None if priority is None else Lane(priority)
    )


def _pattern(key: str, given: Any) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ValueError(f"{key} is {shown(given)}, not a text such as {'newsletter-*' if key == 'kind' else '*.org'}")
    if key == "kind":
        if len(given.strip()) > _LONGEST_KIND:
            raise ValueError(f"nothing ever goes by it, since a kind has {_LONGEST_KIND} characters at most")
        return given.strip()
    try:
        return domain_pattern(given)
    except ValueError as problem:
        raise ValueError(f"{key} is {problem}") from None


def domain_pattern(given: str) -> str:
    """A pattern of domains, in the form that they have on the wire. Raises ValueError."""
    given = given.strip().lower()
    if "@" in given or "/" in given or any(character.isspace() for character in given):
        hint = f": did you mean {nearby}" if (nearby := given.rpartition("@")[2].strip()) and "@" in given else ""
        raise ValueError(f"{shown(given)}, which is not a domain{hint}")
    if given.isascii():
        return given.rstrip(".")
    import idna  # not at the top: most names are ASCII

    labels = given.rstrip(".").split(".")
    try:
        return ".".join(
            label if label.isascii() else idna.encode(label, uts46=True).decode("ascii") for label in labels
        )
    except UnicodeError:  # idna.IDNAError is one
        raise ValueError(f"{shown(given)}: its letters are not allowed in a domain") from None


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
            if names == (DEFAULT,):
                raise ValueError(f"it leads to {name!r}, but OUTBOX_TRANSPORTS is not set: name the transports there")
            raise ValueError(f"OUTBOX_TRANSPORTS does not name {name!r}: {hint}")
    if len({name for name, _ in weighted}) < len(weighted):
        raise ValueError("a transport is named twice")
    return tuple(weighted)
