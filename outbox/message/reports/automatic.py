"""Automatic replies: vacations, tickets, receipts. They say nothing about whether the address is good."""

from __future__ import annotations

import re

from outbox.message.received import decoded
from outbox.message.reports.parts import Mail, first

_BY_HEADER = ("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-reply", "x-mail-autoreply")
_PRECEDENCE = frozenset({"auto_reply", "auto-reply", "autoreply"})
_SERVER = re.compile(
    r"\b(?:mailer-?d\w{5}|postmaster|mail delivery (?:sub)?system|(?:system|mail) administrator)\b", re.IGNORECASE
)
_WORDS = re.compile(
    r"""^\W*(?:(?:re|aw|antwort|sv|vs)\s*:\s*)*(?:
      auto(?:matic|mated)?[ -]?(?:reply|response)|autoreply|out[ -]of[ -](?:the[ -])?office|(?:on|away\ on)\ vacation
    | vacation\ (?:reply|message|response)|away\ from\ (?:my|the)\ (?:mail|email|office)
    | automatische\ (?:antwort|r[uü]ckantwort)|abwesenheits(?:notiz|nachricht|meldung)|abwesend
    | nicht\ im\ (?:b[uü]ro|haus)
    | r[eé]ponse\ automatique|absen(?:t|ce)\ du\ bureau|message\ d'absence
    | respuesta\ autom[aá]tica|fuera\ de\ (?:la\ )?oficina
    | risposta\ automatica|fuori\ (?:sede|ufficio)|resposta\ autom[aá]tica|fora\ d[oe]\ escrit[oó]rio
    | automatisch\ antwoord|afwezigheid|autosvar|automatisk\ (?:svar|besvarelse)|automaattinen\ vastaus|frånvaro|fravær
    | automatyczna\ odpowied|automatick[aá]\ odpov|nieobecno|автоответ|自动回复|自動応答|자동\ ?응답|自動回覆
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def is_from_a_server(mail: Mail) -> bool:
    """Whether a mail server wrote it, as its sender says."""
    return first(mail.fields, "return-path").strip() == "<>" or _SERVER.search(first(mail.fields, "from")) is not None


def is_reply(mail: Mail) -> bool:
    """Whether a program answered for a person (RFC 3834), as its header or the usual words in its subject say."""
    said = first(mail.fields, "auto-submitted").partition(";")[0].strip().lower()
    if said == "auto-replied" or said.startswith("auto-replied "):
        return True
    if first(mail.fields, *_BY_HEADER) or first(mail.fields, "precedence").strip().lower() in _PRECEDENCE:
        return True
    if first(mail.fields, "content-type").lower().find("disposition-notification") >= 0:  # RFC 8098: a read receipt
        return True
    return _WORDS.match(decoded(first(mail.fields, "subject"))) is not None
