"""The form of OUTBOX_REPLY_RULES: what replies mean that the outbox does not know."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from outbox.delivery.reply import About, Phase, Verdict
from outbox.delivery.reply_rule import Rule
from outbox.settings.shown import shown
from outbox.settings.values import Form

_VERDICTS = {
    About.ACCOUNT: Verdict.TRANSPORT,
    About.CONNECTIONS: Verdict.TRANSPORT,
    About.SESSION: Verdict.TRANSPORT,
    About.RELAY: Verdict.CONFIGURATION,
    About.SENDER: Verdict.CONFIGURATION,
}
"""What follows if a rule says only what a reply is about; of the others the class of the code decides."""

_GIVEN = (Verdict.TRANSIENT, Verdict.PERMANENT, Verdict.TRANSPORT, Verdict.CONFIGURATION)
_STEPS = (Phase.AUTH, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT)
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def _parse(raw: Any) -> tuple[Rule, ...]:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            raise ValueError(f"is {shown(raw)}, not a JSON list of objects") from None
    if not isinstance(raw, list | tuple):
        raise ValueError(f"is {shown(raw)}, not a list of mappings")
    rules = []
    for number, one in enumerate(raw, 1):
        try:
            rules.append(_rule(one))
        except ValueError as problem:
            raise ValueError(f"has a rule {number} that {problem}") from None
    return tuple(rules)


def _rule(raw: Any) -> Rule:
    if not isinstance(raw, Mapping):
        raise ValueError(f"is {shown(raw)}, not a mapping")
    if unknown := sorted(str(key) for key in raw if key not in _KEYS):
        raise ValueError(f"holds {', '.join(unknown)}; the keys are {', '.join(_KEYS)}")
    found = {key: parse(raw[key]) for key, parse in _KEYS.items() if raw.get(key) is not None}
    if not found.keys() & {"code", "enhanced", "text"}:
        raise ValueError("fits every reply: give code, enhanced or text")
    if not found.keys() & {"about", "verdict"}:
        raise ValueError("says nothing: give about, or verdict")
    about = found.get("about")
    return Rule(
        found.get("verdict", _VERDICTS.get(about) if about else None),
        found.get("note", "OUTBOX_REPLY_RULES"),
        codes=found.get("code", frozenset()),
        enhanced=found.get("enhanced", frozenset()),
        text=found.get("text"),
        phases=found.get("step", frozenset()),
        about=about,
    )


def _several(parse: Callable[[Any], Any]) -> Callable[[Any], frozenset[Any]]:
    """One value, or a list of them."""
    return lambda raw: frozenset(parse(one) for one in (raw if isinstance(raw, list | tuple) else [raw]))


def _code(raw: Any) -> int:
    code = int(raw) if isinstance(raw, str) and raw.isdigit() else raw
    if isinstance(code, bool) or not isinstance(code, int) or not 400 <= code < 600:
        raise ValueError(f"has the code {shown(raw)}, which is none of 400 to 599")
    return code


def _enhanced(raw: Any) -> str:
    if not isinstance(raw, str) or not _ENHANCED.fullmatch(raw):
        raise ValueError(f"has the enhanced code {shown(raw)}, which is not one such as 5.7.1")
    return raw


def _text(raw: Any) -> re.Pattern[str]:
    try:
        if isinstance(raw, str) and raw:
            return re.compile(raw, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"has the text {shown(raw)}, which is not a regular expression: {error}") from None
    raise ValueError(f"has the text {shown(raw)}, which is not a regular expression")


def _one_of(key: str, values: tuple[Any, ...]) -> Callable[[Any], Any]:
    def parse(raw: Any) -> Any:
        for value in values:
            if isinstance(raw, str) and raw.strip().lower() == value:
                return value
        raise ValueError(f"has the {key} {shown(raw)}, which is none of {', '.join(values)}")

    return parse


def _note(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.isprintable() or len(raw) > 200:
        raise ValueError(f"has the note {shown(raw)}, which is not a text of 200 characters at most")
    return raw


_KEYS: dict[str, Callable[[Any], Any]] = {
    "code": _several(_code),
    "enhanced": _several(_enhanced),
    "text": _text,
    "step": _several(_one_of("step", _STEPS)),
    "about": _one_of("about", tuple(About)),
    "verdict": _one_of("verdict", _GIVEN),
    "note": _note,
}

REPLY_RULES = Form("a list of mappings, or JSON", _parse)
