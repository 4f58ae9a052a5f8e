"""The forms of settings that say how fast mail may go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from outbox.delivery.rate_limits import RateLimits, parse
from outbox.delivery.routes import includes
from outbox.settings.route_rules import domain_pattern
from outbox.settings.shown import shown
from outbox.settings.values import Form, whole

UNLIMITED = "none"
_EXAMPLE = '{"example.com": "1/second, 500/day"}'
_DAY = whole(1, 1_000_000_000)


def _rate(raw: Any) -> RateLimits:
    if not isinstance(raw, str):
        raise ValueError(f"is {shown(raw)}, not a rate: write 5/second, or 5/second, 1000/hour")
    if raw.strip().lower() == UNLIMITED:
        return RateLimits()
    limits = parse(raw.strip())
    if (pair := limits.pointless()) is not None:
        raise ValueError(f"{_never(*pair)}")
    return limits


def _per_day(raw: Any) -> int:
    if isinstance(raw, str) and raw.strip().lower() == UNLIMITED:
        return 0
    try:
        return int(_DAY.parse(raw))
    except ValueError as problem:
        raise ValueError(f"{problem}, or none") from None


def _domain_rates(raw: Any) -> tuple[tuple[str, RateLimits], ...]:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            raise ValueError(f"is {shown(raw)}, not a JSON object such as {_EXAMPLE}") from None
    if not isinstance(raw, Mapping):
        raise ValueError(f"is {shown(raw)}, not domains and their rates, such as {_EXAMPLE}")
    found: list[tuple[str, RateLimits]] = []
    faults = []
    for given, rate in raw.items():
        if not isinstance(given, str) or not given.strip():
            faults.append(f"names {shown(given)}, not a domain or pattern such as *.example.com")
            continue
        try:
            pattern = domain_pattern(given)
        except ValueError as problem:
            faults.append(f"names {problem}")
            continue
        if (before := next((one for one, _ in found if includes(one, pattern)), None)) is not None:
            faults.append(f"has {pattern}, which never counts, since it fits {before} before it: put it first")
        try:
            found.append((pattern, _rate(rate)))
        except ValueError as problem:
            faults.append(f"for {pattern} {problem}")
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(found)


def never_reached(limits: RateLimits) -> str | None:
    """A sentence about a limit that another keeps from ever being reached; None: they fit each other."""
    pair = limits.pointless()
    return None if pair is None else _never(*pair)


def _never(short: str, longer: str) -> str:
    return f"allows {short} and {longer}, and the first can never be reached. Leave {short} out, or correct one of them"


RATE = Form("such as `5/second`, or `5/second, 1000/hour`; `none`", _rate)
PER_DAY = Form(f"{_DAY.says}, or `none`", _per_day)
DOMAIN_RATES = Form("a mapping of domains (patterns) to rates (JSON)", _domain_rates)
