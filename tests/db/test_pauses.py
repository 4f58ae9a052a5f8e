"""Pauses: set, seen, ended and lifted, the same on every database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from outbox.dialect import DbNow
from outbox.models import OutboxPause
from outbox.operations import audit, pauses
from outbox.operations.pauses import What
from tests.servers.databases import Database


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    """In a transaction that is rolled back."""
    with database.worker_engine.connect() as connection:
        yield connection


def test_a_pause_says_what_who_why_and_until_when(connection: sa.Connection) -> None:
    """All of it comes back as it was given, and the audit has a row."""
    made = pauses.pause(connection, What.KIND, "newsletter", by="ann", reason="wrong link", seconds=3600)
    (seen,) = pauses.active(connection)
    assert seen == made
    assert (seen.what, seen.value, seen.by, seen.reason) == (What.KIND, "newsletter", "ann", "wrong link")
    assert seen.until is not None
    assert seen.until - seen.since == pytest.approx(timedelta(hours=1), abs=timedelta(seconds=10))
    (row,) = audit.recent(connection)
    assert (row.action, row.by, row.note) == ("pause", "ann", "wrong link")
    assert row.filters.startswith("kind newsletter until ")


def test_a_pause_ends_by_itself(connection: sa.Connection) -> None:
    """Past its end it is not in force, and needs nobody."""
    made = pauses.pause(connection, What.ALL, by="ann", seconds=60)
    assert made.until is not None
    assert pauses.active(connection, made.until - timedelta(seconds=1)) == [made]
    assert pauses.active(connection, made.until + timedelta(seconds=1)) == []
    connection.execute(sa.update(OutboxPause).values(until=DbNow(-1.0)))
    assert pauses.active(connection) == []


def test_the_same_again_gets_a_new_end(connection: sa.Connection) -> None:
    """One pause for one thing: the later word counts."""
    pauses.pause(connection, What.DOMAIN, "example.org", by="ann", reason="first", seconds=60)
    pauses.pause(connection, What.DOMAIN, "EXAMPLE.org", by="ben", reason="second")
    (seen,) = pauses.active(connection)
    assert (seen.value, seen.by, seen.reason, seen.until) == ("example.org", "ben", "second", None)


def test_a_domain_is_held_as_deliveries_hold_it(connection: sa.Connection) -> None:
    """In ASCII, by IDNA 2008."""
    assert pauses.pause(connection, What.DOMAIN, "Straße.example", by="ann").value == "xn--strae-oqa.example"
    assert pauses.resume(connection, What.DOMAIN, "straße.EXAMPLE", by="ann")


def test_resume_lifts_one_or_all(connection: sa.Connection) -> None:
    """It tells what it lifted, and the audit has a row for each."""
    pauses.pause(connection, What.ALL, by="ann")
    pauses.pause(connection, What.KIND, "newsletter", by="ann")
    pauses.pause(connection, What.TRANSPORT, "MX.example.org:25", by="ann")
    lifted = pauses.resume(connection, What.KIND, "newsletter", by="ben", note="mended")
    assert [str(one) for one in lifted] == ["kind newsletter"]
    assert [str(one) for one in pauses.active(connection)] == ["all", "transport mx.example.org:25"]
    assert len(pauses.resume(connection, by="ben")) == 2
    assert pauses.active(connection) == pauses.resume(connection, by="ben") == []
    assert [(row.action, row.by) for row in audit.recent(connection, 3)] == [("resume", "ben")] * 3


@pytest.mark.parametrize(
    ("what", "value"),
    [(What.ALL, "x"), (What.KIND, " "), (What.DOMAIN, ""), (What.KIND, "a\0"), (What.KIND, "x" * 256)],
)
def test_what_does_not_fit_is_refused(connection: sa.Connection, what: What, value: str) -> None:
    """A pause of nothing, or of all with a name, is a slip."""
    with pytest.raises(ValueError, match=r"is no|has no value"):
        pauses.pause(connection, what, value, by="ann")


def test_an_end_that_is_past_is_refused(connection: sa.Connection) -> None:
    """It would hold back nothing."""
    now = connection.execute(sa.select(DbNow())).scalar_one()
    with pytest.raises(ValueError, match="past"):
        pauses.pause(connection, What.ALL, by="ann", until=now - timedelta(minutes=1))
