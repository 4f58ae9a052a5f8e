"""What may become of an input that Flask-Mail was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flask_mail

from tests.flask.comparison.running import Input


@dataclass(frozen=True)
class Outcome:
    """`kind`: "same", "refused", "differs" or "sends" (what Flask-Mail itself can't send).

    `sentence`: the bold words in docs/moving.md that say so. `values`: aspects of what the outbox sends, where that is
    something else than Flask-Mail sends.
    """

    kind: str
    sentence: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


SAME = Outcome("same")
"""The same in sense, or both raise."""


def refused(sentence: str) -> Outcome:
    """Refused with an error that names the field."""
    return Outcome("refused", sentence)


def differs(sentence: str, **values: Any) -> Outcome:
    """Sent, and `values` are other than Flask-Mail's."""
    return Outcome("differs", sentence, _aspects(values))


def sends(**values: Any) -> Outcome:
    """Sent, where Flask-Mail raises or sends nothing; `values`: what is not as usual."""
    return Outcome("sends", "", _aspects(values))


def _aspects(values: Mapping[str, Any]) -> dict[str, Any]:
    """With the names that `Sense` uses, of which one is a keyword."""
    return {name.removesuffix("_"): value for name, value in values.items()}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    given: Input
    outcome: Outcome
    own: Outcome
    """The same for `outbox.Message` in place of Flask-Mail's."""


def row(
    name: str,
    outcome: Outcome = SAME,
    *,
    own: Outcome | None = None,
    then: Callable[[flask_mail.Message], Any] | None = None,
    config: Mapping[str, Any] | None = None,
    envelope_from: Any = None,
    **arguments: Any,
) -> Row:
    """`arguments` are those of Message; what is not given is usual."""
    return Row(Input(name, arguments, then, config or {}, envelope_from), outcome, own or outcome)
