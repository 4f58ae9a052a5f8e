"""What is given to databases, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

IDLE_TRANSACTION_SECONDS = 10
"""After this a server ends a worker's transaction in which nothing happens: that worker stands still, and its row locks
hold up the others."""

Types = Mapping[str, sa.types.TypeEngine[Any]]
"""What is given for each of many rows, by name."""

Given = sa.TableValuedAlias
"""The same within the statement: a column for each."""


class Problem(NamedTuple):
    """A setting of a server, or of a session on it, that mail suffers from."""

    ok: bool | None  # False: mail is not sent; None: a warning
    words: str
    remedy: str
