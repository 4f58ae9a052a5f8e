"""Two environments in one database: what is done in one leaves the other's messages alone."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import OnUncertain, State
from outbox.operations import Filter, pauses
from outbox.operations.redact import redact
from outbox.operations.tables import DELIVERY
from outbox.store.enqueue import Posting
from outbox.store.pauses import What
from outbox.store.types import DbNow
from tests.db.mails import put, states
from tests.servers.databases import Database

RED, BLUE = Posting(environment="red"), Posting(environment="blue")


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    return database.worker_engine


def columns(engine: sa.Engine, id: int, *names: str) -> tuple[object, ...]:
    with engine.connect() as connection:
        wanted = sa.select(*(DELIVERY.c[name] for name in names)).where(DELIVERY.c.id == id)
        return tuple(connection.execute(wanted).one())


def test_the_same_key_is_a_message_in_each(engine: sa.Engine) -> None:
    """A key is unique within its environment, and yields the first message there."""
    for environment in ("red", "blue", "red"):
        put(engine, posting=Posting(environment=environment, key="welcome-7"))
    with engine.connect() as connection:
        assert operations.count(connection, Filter()) == 2
        assert [row.environment for row in operations.find(connection, Filter())] == ["blue", "red"]


@pytest.mark.parametrize(
    ("target", "before", "after"),
    [
        (State.QUEUED, State.FAILED, "queued"),
        (State.CANCELLED, State.QUEUED, "cancelled"),
        (State.SENT, State.FAILED, "sent"),
    ],
)
def test_a_change_is_for_one_environment(engine: sa.Engine, target: State, before: State, after: str) -> None:
    """By a filter and by ids, the other's stay as they are; without an environment it is for all."""
    mine, other = put(engine, posting=RED, state=before)[0], put(engine, posting=BLUE, state=before)[0]
    for wanted in (Filter(states=(before,), environment="red"), Filter(ids=(mine, other), environment="red")):
        list(operations.in_batches(engine, wanted, target, by="ann"))
        assert states(engine) == {mine: after, other: before}
    list(operations.in_batches(engine, Filter(ids=(other,)), target, by="ann"))
    assert states(engine) == {mine: after, other: after}


def test_an_environment_alone_is_no_filter() -> None:
    """It still means all mail there, which no change takes."""
    with pytest.raises(ValueError, match="empty filter"):
        operations.eligible(Filter(environment="red"), State.QUEUED)


def test_lists_show_one_environment(engine: sa.Engine) -> None:
    """Also where there are more of the other's, by index and by looking; counts are of the one alone."""
    mine = put(engine, posting=RED, state=State.FAILED)[0]
    put(engine, *(f"r{n}@example.org" for n in range(5)), posting=BLUE, state=State.FAILED)
    for wanted in (Filter(environment="red"), Filter(states=(State.FAILED,), environment="red")):
        with engine.connect() as connection:
            assert [row.id for row in operations.find(connection, wanted)] == [mine]
            assert operations.count(connection, wanted) == 1
            page = operations.browse(connection, wanted, seconds=5.0)
            assert ([row.id for row in page.rows], page.total) == ([mine], 1)


def test_one_environment_alone_is_found_by_the_index(engine: sa.Engine) -> None:
    """Where all is of one environment, a list is as exact as without the word, though there is no time to look."""
    put(engine, *(f"r{n}@example.org" for n in range(5)), posting=RED, state=State.FAILED)
    with engine.connect() as connection:
        failed = Filter(states=(State.FAILED,), environment="red")
        page = operations.browse(connection, failed, limit=2, seconds=0.0, window=1)
        assert (page.total, page.complete, page.looked) == (5, True, None)


def test_purge_and_redaction(engine: sa.Engine) -> None:
    """Old messages of the other environment keep their rows and their text."""
    red = Posting(environment="red", kind="reset")
    blue = Posting(environment="blue", kind="reset")
    mine, other = (put(engine, posting=one, state=State.SENT, ago=90.0)[0] for one in (red, blue))
    assert operations.Redactor(engine, ["reset"], environment="red", lag=0.0).run() == 1
    with engine.connect() as connection:
        assert [operations.show(connection, id).redacted_at is not None for id in (mine, other)] == [True, False]  # type: ignore[union-attr]
    with engine.begin() as connection:
        assert operations.purge(connection, older_than=60.0, limit=10, wanted=Filter(environment="red")) == 1
    assert states(engine) == {other: "sent"}


def test_what_nobody_got_is_not_redacted(engine: sa.Engine) -> None:
    """MAIL_SUPPRESS_SEND kept it back: it can be requeued, so it keeps its text."""
    posting = Posting(kind="reset")
    put(engine, posting=posting, state=State.SENT, ago=90.0, delivery={"reason": "suppressed"})
    with engine.begin() as connection:
        assert redact(connection, [1], ["reset"]) == 0


def test_correcting(engine: sa.Engine) -> None:
    """The other environment's message keeps its recipient."""
    other = put(engine, posting=BLUE, state=State.FAILED)[0]
    with engine.begin() as connection, pytest.raises(ValueError, match="belongs to the environment 'blue'"):
        operations.correct_recipient(
            connection, other, "bob@example.org", by="ann", sensitive_kinds=(), address_key=b"", environment="red"
        )


def test_pauses(engine: sa.Engine) -> None:
    """A pause is in force in its environment, or in all; each is lifted by itself."""
    with engine.begin() as connection:
        for environment in ("red", "blue", "*"):
            pauses.pause(connection, What.KIND, "news", by="ann", environment=environment)
        assert [str(one) for one in pauses.active(connection, "red")] == ["kind news in red", "kind news"]
        pauses.pause(connection, What.KIND, "news", by="ann", reason="again", environment="red")
        assert len(pauses.active(connection)) == 3
        assert [one.environment for one in pauses.resume(connection, by="ann", environment="red")] == ["red"]
        assert [one.environment for one in pauses.active(connection)] == ["blue", "*"]


def test_cancelling_what_a_relay_may_have(engine: sa.Engine) -> None:
    """Queued again with the mark of an earlier lease: it is uncertain, keeps its mark, and is not corrected either."""
    hold = Posting(on_uncertain=OnUncertain.HOLD)
    marked = put(engine, posting=hold, delivery={"marked_at": DbNow()})[0]
    plain = put(engine)[0]
    with engine.begin() as connection, pytest.raises(ValueError, match="may have the message"):
        operations.correct_recipient(
            connection, marked, "bob@example.org", by="ann", sensitive_kinds=(), address_key=b""
        )
    wanted = Filter(states=(State.QUEUED,))
    [done] = operations.in_batches(engine, wanted, State.CANCELLED, by="ann")
    assert (list(done.changed), list(done.uncertain)) == ([plain], [marked])
    assert states(engine) == {marked: "uncertain", plain: "cancelled"}
    assert columns(engine, marked, "reason", "due_at") == ("unknown", None)
    assert columns(engine, marked, "marked_at") != (None,)
    with engine.connect() as connection:
        assert operations.audit.recent(connection)[0].count == 2


def test_what_was_suppressed_is_requeued(engine: sa.Engine) -> None:
    """It is recorded as sent with the reason `suppressed`: found by it, and sent again as if new; nothing else is."""
    kept = put(engine, state=State.SENT, delivery={"reason": "suppressed", "deferrals": 4})[0]
    sent = put(engine, state=State.SENT)[0]
    with engine.connect() as connection:
        assert [row.id for row in operations.find(connection, Filter(reason="suppressed"))] == [kept]
    with engine.begin() as connection:
        assert operations.requeue(connection, Filter(ids=(kept, sent)), by="ann") == 0
        assert operations.requeue(connection, Filter(ids=(kept, sent), reason="suppressed"), by="ann") == 1
    assert states(engine) == {kept: "queued", sent: "sent"}
    assert columns(engine, kept, "deferrals", "reason") == (0, None)


@pytest.mark.databases("sqlite")
def test_ids_are_not_given_twice(engine: sa.Engine) -> None:
    """The newest message is cancelled and purged: what the audit says of its id is of no other."""
    first = put(engine, state=State.CANCELLED, ago=90.0)[0]
    with engine.begin() as connection:
        assert operations.purge(connection, older_than=60.0, limit=10) == 1
    assert put(engine)[0] > first
