"""Pages of a list in bounded time, the same on every database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.operations import Filter, Page
from outbox.store.enqueue import Posting
from tests.db.mails import put
from tests.db.test_operations import FILTERS

HOURS = 12


@pytest.fixture
def ids(engine: sa.Engine) -> list[int]:
    """Twelve mails, enqueued an hour apart, every third failed, every fourth of a kind; the oldest first."""
    found: list[int] = []
    for hour in range(HOURS, 0, -1):
        state = State.FAILED if hour % 3 == 0 else State.SENT
        posting = Posting(kind="invoice" if hour % 4 == 0 else None)
        found += put(engine, f"u{hour}@example.org", state=state, ago=hour * 3600.0, posting=posting)
    return found


def find(engine: sa.Engine, wanted: Filter) -> list[int]:
    with engine.connect() as connection:
        return [row.id for row in operations.find(connection, wanted)]


def pages(engine: sa.Engine, wanted: Filter, **options: Any) -> Iterator[Page]:
    """Page after page, each no longer than one step of the look."""
    before: int | None = None
    with engine.connect() as connection:
        while True:
            page = operations.browse(connection, wanted, before=before, seconds=0.0, **options)
            yield page
            before = page.older
            if before is None:
                return


WANTED: list[dict[str, Any]] = [
    {},
    {"states": (State.FAILED,)},
    {"kind": "invoice"},
    {"kind": "none"},
    {"kind": "invoice", "states": (State.FAILED,)},
    {"recipient": "u1"},
    {"recipient": "u1@example.org"},
    {"search": "u1"},
    {"older_than": timedelta(hours=5, minutes=30)},
    {"older_than": timedelta(hours=5, minutes=30), "states": (State.FAILED,)},
    {"older_than": timedelta(days=1)},
    {"since": timedelta(hours=5, minutes=30)},
]


@pytest.mark.parametrize(("window", "limit"), [(1, 1), (1, 50), (2, 1), (5, 3), (100, 3)])
def test_page_after_page_finds_all(engine: sa.Engine, ids: list[int], window: int, limit: int) -> None:
    """However small a page's look is, the pages together hold what `find` finds, each once, newest first."""
    for words in WANTED:
        wanted = Filter(**words)
        seen = list(pages(engine, wanted, window=window, limit=limit))
        assert [row.id for page in seen for row in page.rows] == find(engine, wanted), words
        assert all(len(page.rows) <= limit for page in seen)


def test_unhurried_it_finds_what_find_finds(engine: sa.Engine, ids: list[int]) -> None:
    """With time enough the first page holds it all and has counted it, whatever is looked for."""
    for words in [*WANTED, *(words for words, _ in FILTERS)]:
        wanted = Filter(**words)
        with engine.connect() as connection:
            page = operations.browse(connection, wanted, seconds=60.0)
        assert [row.id for row in page.rows] == find(engine, wanted), words
        assert (page.total, page.complete, page.looked, page.older) == (len(page.rows), True, None, None)


def test_a_page_says_how_far_it_looked(engine: sa.Engine, ids: list[int]) -> None:
    """Where time is up it tells how many it looked at, what it found among them, and where to go on."""
    first, *_ = pages(engine, Filter(kind="invoice"), window=5, limit=3)
    assert ([row.id for row in first.rows], first.total, first.looked) == ([ids[8]], 1, 5)
    assert not first.complete
    assert first.older == ids[7]


def test_counting_stops_at_the_cap(engine: sa.Engine, ids: list[int]) -> None:
    """Beyond the cap one more is told, whether an index finds the mail or not."""
    for wanted in (Filter(states=(State.SENT,)), Filter(domain="example.org")):
        with engine.connect() as connection:
            page = operations.browse(connection, wanted, limit=2, cap=4, window=3, seconds=60.0)
        assert (page.total, page.complete, page.looked) == (5, False, None)
        assert page.older == page.rows[-1].id


def test_only_the_first_page_counts(engine: sa.Engine, ids: list[int]) -> None:
    """Further down, a total would be one of something else."""
    with engine.connect() as connection:
        assert operations.browse(connection, Filter(domain="example.org"), before=ids[5]).total is None


def test_nothing_in_an_empty_outbox(engine: sa.Engine) -> None:
    """Nothing is found where nothing is, by age either."""
    for wanted in (Filter(), Filter(older_than=timedelta(0)), Filter(kind="x")):
        assert list(pages(engine, wanted)) == [Page([], None, 0, True, None)]
