"""The pages of an application that shares its database with another environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from outbox import operations
from outbox.delivery.states import OnUncertain, State
from outbox.store.enqueue import Posting
from outbox.store.types import DbNow
from tests.db.mails import put, states
from tests.flask.test_web import ROOT, change, question, text_of
from tests.servers.databases import Database
from tests.web.site import site


@pytest.fixture
def client(sqlite_database: Database) -> Iterator[FlaskClient]:
    """A person who may do all, on the pages of the environment red."""
    made = site(sqlite_database.url, OUTBOX_ENVIRONMENT="red")
    yield made.app.test_client()
    made.close()


@pytest.fixture
def ids(sqlite_database: Database) -> tuple[int, int]:
    """One message that failed in each environment."""
    mine, other = (
        put(
            sqlite_database.engine,
            f"{name}@example.org",
            posting=Posting(environment=name),
            state=State.FAILED,
            delivery={"code": 550},
        )[0]
        for name in ("red", "blue")
    )
    return mine, other


def test_the_list_shows_its_own_unless_asked(client: FlaskClient, ids: tuple[int, int]) -> None:
    """A switch shows all, with a tag for those of others."""
    own = text_of(client.get(f"{ROOT}/mail"))
    assert "red@example.org" in own
    assert "blue@example.org" not in own
    everything = text_of(client.get(f"{ROOT}/mail?environment=*"))
    assert "red@example.org" in everything
    assert "blue@example.org" in everything


def test_failures_are_grouped_for_its_own_unless_asked(client: FlaskClient, ids: tuple[int, int]) -> None:
    """On the page of failures and on the overview; a link shows, and acts on, those of all."""
    own = text_of(client.get(f"{ROOT}/failures"))
    assert "1 × 550" in own
    assert "the failures of the environment red" in own
    page = client.get(f"{ROOT}/failures?environment=*")
    assert "2 × 550" in text_of(page)
    assert 'name="environment" value="*"' in page.text
    overview = text_of(client.get(f"{ROOT}/"))
    assert "1 × 550" in overview
    assert "Other environments share this database" in overview


def test_the_one_without_a_name_has_one(sqlite_database: Database, ids: tuple[int, int]) -> None:
    """Where OUTBOX_ENVIRONMENT is empty, pages speak of the default environment, and so does the status."""
    (id,) = put(sqlite_database.engine, "here@example.org", state=State.FAILED, delivery={"code": 550})
    made = site(sqlite_database.url)
    here = made.app.test_client()
    assert "the failures of the default environment" in text_of(here.get(f"{ROOT}/failures"))
    assert "groups of failures only those of the default environment." in text_of(here.get(f"{ROOT}/"))
    made.close()
    red = site(sqlite_database.url, OUTBOX_ENVIRONMENT="red")
    there = red.app.test_client()
    assert "This message belongs to the default environment" in text_of(there.get(f"{ROOT}/mail/{id}"))
    assert " default environment " in text_of(there.get(f"{ROOT}/mail?environment=*"))
    red.close()


@pytest.mark.parametrize("action", ["requeue", "cancel", "mark-sent"])
def test_an_action_is_for_what_the_filter_says(
    client: FlaskClient, ids: tuple[int, int], sqlite_database: Database, action: str
) -> None:
    """All that match, and ticked ones, too; the other's only where the filter says all environments."""
    mine, other = ids
    assert " 1 message" in text_of(question(client, action=action, scope="all", state="failed"))
    change(client, "/act", action=action, scope="all", state="failed")
    change(client, "/act", action=action, scope="ticked", id=other)
    found = states(sqlite_database.engine)
    assert found[mine] != "failed"
    assert found[other] == "failed"
    change(client, "/act", action=action, scope="all", state="failed", environment="*")
    assert states(sqlite_database.engine)[other] != "failed"


def test_the_page_of_anothers_message(client: FlaskClient, ids: tuple[int, int], sqlite_database: Database) -> None:
    """It says whose it is and offers nothing, until it is asked for that; nor is its recipient corrected."""
    _, other = ids
    page = client.get(f"{ROOT}/mail/{other}")
    assert "belongs to the environment blue" in text_of(page)
    assert 'name="action"' not in page.text
    assert change(client, f"/mail/{other}/recipient", recipient="x@example.org").status_code == 400
    page = client.get(f"{ROOT}/mail/{other}?environment=*")
    assert 'name="action"' in page.text
    done = change(client, f"/mail/{other}/recipient", recipient="x@example.org", environment="*")
    assert (done.status_code, states(sqlite_database.engine)[other]) == (303, "queued")


def test_pauses_are_of_one_environment_or_all(
    client: FlaskClient, ids: tuple[int, int], sqlite_database: Database
) -> None:
    """The own by default, all where that is ticked; each is resumed by itself."""
    change(client, "/pause", what="kind", value="news")
    change(client, "/pause", what="kind", value="news", every="1")
    with sqlite_database.engine.connect() as connection:
        assert [one.environment for one in operations.pauses.active(connection)] == ["red", "*"]
    assert "all environments" in text_of(client.get(f"{ROOT}/pauses"))
    change(client, "/resume", what="kind", value="news", environment="*")
    with sqlite_database.engine.connect() as connection:
        assert [one.environment for one in operations.pauses.active(connection)] == ["red"]


def test_cancelling_what_a_relay_may_have(client: FlaskClient, sqlite_database: Database) -> None:
    """The page says that it is uncertain, and does not offer another recipient."""
    hold = Posting(environment="red", on_uncertain=OnUncertain.HOLD)
    marked = put(sqlite_database.engine, posting=hold, delivery={"marked_at": DbNow()})[0]
    assert "Correct and requeue" not in client.get(f"{ROOT}/mail/{marked}").text
    done = change(client, "/act", action="cancel", id=marked, origin=marked)
    assert states(sqlite_database.engine) == {marked: "uncertain"}
    words = text_of(client.get(done.location))
    assert "1 message may have been sent already, and is uncertain now" in words
    assert "Nothing was changed" not in words


def test_what_was_suppressed_is_found_and_requeued(client: FlaskClient, sqlite_database: Database) -> None:
    """By its reason in the list, and from its own page; what was sent is not offered that."""
    red = Posting(environment="red")
    kept = put(sqlite_database.engine, "k@x.org", posting=red, state=State.SENT, delivery={"reason": "suppressed"})[0]
    sent = put(sqlite_database.engine, "s@x.org", posting=red, state=State.SENT)[0]
    found = text_of(client.get(f"{ROOT}/mail?reason=suppressed"))
    assert "k@x.org" in found
    assert "s@x.org" not in found
    assert 'value="requeue"' in client.get(f"{ROOT}/mail/{kept}").text
    assert 'value="requeue"' not in client.get(f"{ROOT}/mail/{sent}").text
    change(client, "/act", action="requeue", scope="all", reason="suppressed")
    assert states(sqlite_database.engine) == {kept: "queued", sent: "sent"}
