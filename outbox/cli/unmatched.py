"""Why a filter matches nothing: the same mail in other states."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from outbox import operations
from outbox.cli.options import number
from outbox.delivery.states import State
from outbox.operations import Filter

CAP = 10_000


def by_state(connection: Connection, wanted: Filter) -> dict[State, int]:
    """How much matches, whatever state was asked for; each is counted to CAP + 1."""
    counts = {state: operations.count(connection, replace(wanted, states=(state,)), cap=CAP) for state in State}
    return {state: count for state, count in counts.items() if count}


def matching(found: dict[State, int]) -> str:
    """ "3 match, but they are sent", "5 match, but 3 are sent and 2 are cancelled"."""
    if len(found) == 1:
        ((state, count),) = found.items()
        return f"{_match(count)}, but {'it is' if count == 1 else 'they are'} {state}"
    words = [f"{number(count, CAP)} {'is' if count == 1 else 'are'} {state}" for state, count in found.items()]
    return f"{_match(sum(found.values()))}, but {', '.join(words[:-1])} and {words[-1]}"


def matching_but(found: dict[State, int], one: str, many: str) -> str:
    """ "3 match, but they are due already": `one` and `many` say why, of one and of several."""
    count = sum(found.values())
    return f"{_match(count)}, but {one if count == 1 else many}"


def _match(count: int) -> str:
    return f"{number(count, CAP)} {'matches' if count == 1 else 'match'}"
