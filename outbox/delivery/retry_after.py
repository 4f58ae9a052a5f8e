"""How long a server's words ask us to wait: "try again in 5 minutes", "Greylisted for 300 seconds", "Retry-After: 120".

Pure. A duration is read only beside words that ask for a wait: a time of day, a time that has passed, a limit "per
hour", a size, an id or an address is not a wait. What is not understood is no wait: the outbox's own backoff applies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 86_400.0
"""Seconds: a server is not believed beyond a day."""

_UNITS = (  # in falling order, so that "1h30m" is one duration and "5 minutes, 300 seconds" is two
    (604_800.0, re.compile(r"weeks?", re.IGNORECASE | re.ASCII)),
    (86_400.0, re.compile(r"d|(?i:days?)", re.ASCII)),  # a letter alone in lower case only: "20 M" is a size
    (3_600.0, re.compile(r"h|(?i:hrs?|hours?)", re.ASCII)),
    (60.0, re.compile(r"m|(?i:mins?|minutes?)", re.ASCII)),
    (1.0, re.compile(r"s|(?i:secs?|seconds?)", re.ASCII)),
)
_WORDS = {
    "half an": 0.5,
    "a": 1.0,
    "an": 1.0,
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "four": 4.0,
    "five": 5.0,
    "six": 6.0,
    "seven": 7.0,
    "eight": 8.0,
    "nine": 9.0,
    "ten": 10.0,
    "twelve": 12.0,
    "fifteen": 15.0,
    "twenty": 20.0,
    "thirty": 30.0,
    "forty-five": 45.0,
    "sixty": 60.0,
}

_PART = re.compile(  # a range ("5-10 minutes", "5 to 10 minutes") counts as its end
    rf"(?:(?:[0-9]+\ ?(?:-|to|or)\ ?)?(?P<number>[0-9]+(?:[.,][0-9]+)?)\s?(?:more\s)?|(?P<word>{'|'.join(_WORDS)})\s)"
    r"(?P<unit>[a-z]+)\.?(?![a-z])",
    re.IGNORECASE | re.ASCII,
)
_BETWEEN = re.compile(r"\s?(?:,\s?|and\s|,\s?and\s)?", re.IGNORECASE | re.ASCII)
_START = re.compile(r"(?<![\w.:/,-])(?=[0-9]|[a-z])", re.IGNORECASE | re.ASCII)
_CLOCK = re.compile(r"([0-9]{1,2}):([0-5][0-9]):([0-5][0-9])(?![\w:.])", re.ASCII)

_ASKS = re.compile(  # what stands before a duration that is a wait
    r"(?:"
    r"\b(?:again|retry(?:ing)?|re-?send|wait|later|reattempt(?:ed)?|(?<![\w-])back(?:-?off)?|delay|gr[ea]y-?list\w*)\b"
    r"[^0-9.;!?]{0,40}?"
    r"|\b(?:deferred|delayed|postponed|blocked|banned|throttled|limited|suspended|locked|refused|rejected|denied"
    r"|penali[sz]ed|disabled)\b[^0-9.;!?]{0,20}?\bfor\b(?:\s(?:about|another|at\sleast|approximately|the\snext|up\sto))?\s"
    r"|\b(?:resets?|lifted|unblock(?:ed)?|enabled|removed|resumes?|reset)\s(?:automatically\s)?in\s"
    r")$",
    re.IGNORECASE | re.ASCII,
)
_ASKS_FOR_CLOCK = re.compile(r"\b(?:in|for|wait|delay|another)\s$", re.IGNORECASE | re.ASCII)
_RETRY_AFTER = re.compile(r"\bretry-after\s?[:= ]\s?([0-9]+)(?![\w.:,/-])(?!\s?[a-z]+\b)", re.IGNORECASE | re.ASCII)
_NOT_A_WAIT_BEFORE = re.compile(
    r"\b(?:timed|time-?out|took|idle|elapsed|waited|within|per|every|last|past|since|until|at|later\sthan|less\sthan"
    r"|window|limit\s?(?:is|of|:)|sent|exceed\w*|response)\b",
    re.IGNORECASE | re.ASCII,
)
_NOT_A_WAIT_AFTER = re.compile(
    r"\s?\(?(?:ago|old|already|elapsed|passed|since|late|idle|window|time-?out|limit|period|exceeded|o'clock)\b",
    re.IGNORECASE | re.ASCII,
)
_ASKS_AFTERWARDS = re.compile(
    r"\s(?:remaining|remain|left|to\sgo|to\swait|missing|more"
    r"|before\s(?:you\s)?(?:re-?)?(?:try|send|deliver|attempt|connect|submit)\w*)\b",
    re.IGNORECASE | re.ASCII,
)
_ZONE = re.compile(r"\s?(?:\(|[+-][0-9]|am\b|pm\b|[A-Z]{1,5}\b|o'clock)", re.ASCII)


def seconds_to_wait(text: str) -> float | None:
    """Seconds that `text` asks us to wait, a day at most; None if it does not say. Never raises, whatever the text."""
    for seconds in _waits(text):
        return min(seconds, LONGEST)
    return None


def _waits(text: str) -> Iterator[float]:
    if found := _RETRY_AFTER.search(text):
        yield float(found[1])
    for start in _START.finditer(text):
        at = start.start()
        before = text[max(0, at - 60) : at]
        if clock := _CLOCK.match(text, at):
            if _ASKS_FOR_CLOCK.search(before) and not _ZONE.match(text, clock.end()):
                hours, minutes, seconds = (int(part) for part in clock.groups())
                yield float(hours * 3600 + minutes * 60 + seconds)
            continue
        duration = _duration(text, at)
        if duration is None:
            continue
        total, end = duration
        if _NOT_A_WAIT_AFTER.match(text, end):
            continue
        asked = _ASKS.search(before)
        if (asked and not _NOT_A_WAIT_BEFORE.search(asked[0])) or _ASKS_AFTERWARDS.match(text, end):
            yield total


def _duration(text: str, at: int) -> tuple[float, int] | None:
    """The duration that begins there ("2 hours, 5 minutes") and where it ends; None: there is none."""
    total, end, smallest = 0.0, -1, float("inf")
    while part := _PART.match(text, at):
        unit = next((seconds for seconds, names in _UNITS if names.fullmatch(part["unit"])), None)
        if unit is None or unit >= smallest:
            break
        if part["word"] and part["word"].lower() == "a" and unit == 1.0:  # "a second time"
            break
        total += unit * (_number(part["number"]) if part["number"] else _WORDS[part["word"].lower()])
        end, smallest = part.end(), unit
        between = _BETWEEN.match(text, end)
        at = between.end() if between else end
    return None if end < 0 or re.match(r"[\w-]", text[end : end + 1]) else (total, end)


def _number(digits: str) -> float:
    """ "1.5", "1,5" and "1,000"; any number of digits (infinity is capped later)."""
    if "," in digits and len(digits.rpartition(",")[2]) == 3:
        digits = digits.replace(",", "")
    return float(digits.replace(",", "."))
