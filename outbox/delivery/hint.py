"""A hint: a pattern on what a relay said, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from outbox.delivery.reply import Phase


@dataclass(frozen=True, slots=True)
class Hint:
    """A pattern on what was said, and the remedy. What is left empty fits everything."""

    remedy: str
    phases: frozenset[Phase] = frozenset()
    codes: frozenset[int | None] = frozenset()  # None in it: no reply came
    text: re.Pattern[str] | None = None
    port: int | None = None
    plain: bool = False  # only where TLS does not come first

    def fits(self, phase: Phase, code: int | None, text: str, port: int | None, tls_first: bool) -> bool:
        """Whether this hint is about the failure."""
        return (
            (not self.phases or phase in self.phases)
            and (not self.codes or code in self.codes)
            and (self.port is None or self.port == port)
            and not (self.plain and tls_first)
            and (self.text is None or self.text.search(text) is not None)
        )


def words(*patterns: str) -> re.Pattern[str]:
    """Any of these, in whatever letters."""
    return re.compile("|".join(patterns), re.IGNORECASE)


NO_REPLY: frozenset[int | None] = frozenset({None})
FROM_MAIL = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT})
TO_EHLO = frozenset({Phase.GREETING, Phase.EHLO})
AUTH = frozenset({Phase.AUTH})
TLS = frozenset({Phase.TLS})

TLS_FROM_START = "Port 465 speaks TLS from the first byte: set MAIL_USE_SSL=true."
