"""The form of OUTBOX_REPLY_RULES: what replies mean that the outbox does not know."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from outbox.delivery.reply import About, Phase, Verdict
from outbox.delivery.reply_rule import Rule
from outbox.settings.shown import nearest, shown
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
    rules: list[Rule] = []
    faults: list[str] = []
    for number, one in enumerate(raw, 1):
        try:
            rule = _rule(one)
            if (earlier := next((other for other in rules if _covers(other, rule)), None)) is not None:
                raise ValueError(
                    f"nothing ever gets to, since all that fits it fits rule {rules.index(earlier) + 1}: put it first"
                )
        except ValueError as problem:
            rule = _NOTHING
            faults.append(f"{'has a' if not faults else 'a'} rule {number} that {problem}")
        rules.append(rule)
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(rules)


_NOTHING = Rule(None, "", codes=frozenset({0}))
"""In place of one that can't be read: it fits no reply."""


def _rule(raw: Any) -> Rule:
    if not isinstance(raw, Mapping):
        raise ValueError(f"is {shown(raw)}, not a mapping")
    faults = [_unknown(str(key)) for key in raw if key not in _KEYS]
    found = {}
    for key, parse in _KEYS.items():
        try:
            if raw.get(key) is not None:
                found[key] = parse(raw[key])
        except ValueError as problem:
            faults.append(str(problem))
    if not faults and not found.keys() & {"code", "enhanced", "text"}:
        faults.append("fits every reply: give code, enhanced or text")
    if not faults and not found.keys() & {"about", "verdict"}:
        faults.append("says nothing: give about, or verdict")
    if faults:
        raise ValueError(" and ".join(faults))
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


def _unknown(key: str) -> str:
    close = nearest(key, _KEYS)
    hint = f"did you mean {close}" if close else f"the keys are {', '.join(_KEYS)}"
    return f"holds {key} ({hint})"


def _covers(rule: Rule, later: Rule) -> bool:
    """Whether all that fits `later` fits `rule` as well, so that nothing gets to `later`. In doubt it says no."""
    pairs = ((rule.codes, later.codes), (rule.enhanced, later.enhanced), (rule.phases, later.phases))
    return all(not wide or (narrow and narrow <= wide) for wide, narrow in pairs) and rule.text in {None, later.text}


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
        close = nearest(raw.strip().lower(), values) if isinstance(raw, str) else None
        hint = f" (did you mean {close})" if close else ""
        raise ValueError(f"has the {key} {shown(raw)}, which is none of {', '.join(values)}{hint}")

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
