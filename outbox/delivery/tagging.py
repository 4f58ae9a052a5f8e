"""How providers want a message's tags: as headers of their own, by preset. Data and pure functions.

A tag is a word ("welcome") or a named value ("campaign=spring"). What a provider's headers can't hold goes in what is
nearest: where there is one word only, the others become values named tag-2, tag-3, …
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

Headers = list[tuple[str, str]]

_WORD = re.compile(r"[^A-Za-z0-9_-]")
_FOLD = 76


def headers_of(preset: str, tags: Sequence[str]) -> Headers:
    """The headers for a provider; none where it has none, or where it is not known: tags are not sent to others."""
    write = _WRITERS.get(preset)
    return write(*_parted(tags)) if write is not None and tags else []


def _parted(tags: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The words, and the named values."""
    words = [tag for tag in tags if "=" not in tag]
    values = dict(tag.split("=", 1) for tag in tags if "=" in tag)
    return words, values


def _numbered(words: Sequence[str], first: int = 1) -> dict[str, str]:
    return {"tag" if number == 1 else f"tag-{number}": word for number, word in enumerate(words, first)}


def _postmark(words: list[str], values: Mapping[str, str]) -> Headers:
    # https://postmarkapp.com/developer/user-guide/send-email-with-smtp
    named = {**_numbered(words[1:], 2), **values}
    return [*(("X-PM-Tag", word) for word in words[:1]), *((f"X-PM-Metadata-{name}", of) for name, of in named.items())]


def _mailgun(words: list[str], values: Mapping[str, str]) -> Headers:
    # https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/pass-sending-options
    return [*(("X-Mailgun-Tag", word) for word in words), *_as_json("X-Mailgun-Variables", values)]


def _ses(words: list[str], values: Mapping[str, str]) -> Headers:
    # https://docs.aws.amazon.com/ses/latest/dg/event-publishing-send-email.html: letters, digits, _ and - alone
    named = {**_numbered(words), **values}
    pairs = [f"{_WORD.sub('-', name)}={_WORD.sub('-', value)}" for name, value in named.items()]
    return [("X-SES-MESSAGE-TAGS", ", ".join(pairs))]


def _sendgrid(words: list[str], values: Mapping[str, str]) -> Headers:
    # https://www.twilio.com/docs/sendgrid/for-developers/sending-email/categories, …/unique-arguments
    return _as_json("X-SMTPAPI", {"category": words, "unique_args": dict(values)})


def _sparkpost(words: list[str], values: Mapping[str, str]) -> Headers:
    # https://developers.sparkpost.com/api/smtp/#header-using-the-x-msys-api-custom-header
    return _as_json("X-MSYS-API", {"tags": words, "metadata": dict(values)})


def _mailjet(words: list[str], values: Mapping[str, str]) -> Headers:
    # https://dev.mailjet.com/smtp-relay/custom-headers/
    named = {**_numbered(words[1:], 2), **values}
    return [*(("X-Mailjet-Campaign", word) for word in words[:1]), *_as_json("X-MJ-EventPayload", named)]


def _brevo(words: list[str], values: Mapping[str, str]) -> Headers:
    # https://developers.brevo.com/docs/smtp-integration
    named = {**_numbered(words[1:], 2), **values}
    return [*(("X-Mailin-Tag", word) for word in words[:1]), *_as_json("X-Mailin-custom", named)]


def _as_json(name: str, value: Mapping[str, object]) -> Headers:
    """The parts of `value` that are not empty; no header where all are."""
    kept = {key: part for key, part in value.items() if part}
    return [(name, json.dumps(kept))] if kept else []


_WRITERS: dict[str, Callable[[list[str], Mapping[str, str]], Headers]] = {
    "postmark": _postmark,
    "mailgun": _mailgun,
    "ses": _ses,
    "sendgrid": _sendgrid,
    "sparkpost": _sparkpost,
    "mailjet": _mailjet,
    "brevo": _brevo,
}

TAKERS = tuple(_WRITERS)
"""The presets whose providers take tags."""


def folded(name: str, value: str) -> str:
    """The field in lines of at most 76 characters where it has blanks (RFC 5322 §2.2.3), without its last CRLF."""
    lines, line = [], f"{name}:"
    for word in value.split(" "):
        if len(line) + len(word) >= _FOLD and line.strip() != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    return "\r\n".join([*lines, line])
