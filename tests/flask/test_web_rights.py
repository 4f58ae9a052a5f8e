"""Right × route × state: each request of `tests/web/routes.py`, with sensitive mail and with other."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, abort, redirect, session
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import outbox.web
from outbox import operations
from outbox.delivery.states import State
from outbox.models import Base, OutboxEffect
from outbox.operations.pauses import What
from outbox.store.types import DbNow
from outbox.web import csrf
from tests.web.routes import ACT, ERASE, LOOK, READ, ROUTES, SEND_NOW, Route
from tests.web.seed import GREYLISTED, Mail, worker, write
from tests.web.site import bare

ROOT = "/admin/outbox"
SECRETS = ("secret-token", "c2VjcmV0LXRva2Vu", "secret-header", "secret-name")
A_MAIL = re.compile(rf'href="{ROOT}/mail/\d')
SENSITIVE, OTHER = "password-reset", "invoice"

VISITORS: dict[str, set[str] | None] = {
    "anonymous": None,
    "nobody": set(),
    "looks": {LOOK},
    "reads": {LOOK, READ},
    "acts": {LOOK, ACT, SEND_NOW},
    "sends now": {LOOK, SEND_NOW},
    "erases": {LOOK, ERASE},
    "all": {LOOK, READ, ACT, SEND_NOW, ERASE},
    "all but looking": {READ, ACT, SEND_NOW, ERASE},
}


@dataclass
class Pages:
    """The pages on a database with one message of each state, sensitive and not, that can be put back as it was."""

    app: Flask
    ids: dict[tuple[State, str], int]
    raw: sqlite3.Connection
    pristine: sqlite3.Connection
    rights: set[str] | None = None

    def state(self) -> list[tuple[Any, ...]]:
        """All rows of all tables, but for the notes of who looked."""
        tables = [name for (name,) in self.raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows: list[tuple[Any, ...]] = []
        for table in sorted(tables):
            where = " WHERE action != 'read'" if table == "outbox_audit" else ""
            rows += [(table, *row) for row in self.raw.execute(f"SELECT * FROM {table}{where}")]
        return [row for row in rows if row[0] != "sqlite_sequence"]

    def put_back(self) -> None:
        self.pristine.backup(self.raw)

    def delivery(self, id: int) -> tuple[Any, ...]:
        columns = "state, recipient, due_at, attempts, reply"
        return tuple(self.raw.execute(f"SELECT {columns} FROM outbox_delivery WHERE id = ?", (id,)).fetchone())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    file = tmp_path_factory.mktemp("rights") / "rights.sqlite3"
    engine = sa.create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        ids = {(state, kind): write(connection, secret_mail(state, kind))[0] for state in State for kind in KINDS}
        operations.pauses.pause(connection, What.KIND, "held", by="chief", environment="")
        operations.suppressions.suppress(connection, "eve@example.org", by="chief", address_key=b"")
        waits = {"environment": "", "name": "shop.note", "type": "sent", "effect_key": "1", "created_at": DbNow()}
        connection.execute(sa.insert(OutboxEffect).values(waits))
        worker(connection)
    engine.dispose()
    app = bare(f"sqlite:///{file}", OUTBOX_SENSITIVE_KINDS=(SENSITIVE,))
    with contextlib.closing(sqlite3.connect(file)) as raw, contextlib.closing(sqlite3.connect(":memory:")) as pristine:
        raw.backup(pristine)
        made = Pages(app, ids, raw, pristine)
        app.register_blueprint(blueprint(made), url_prefix=ROOT)
        yield made
    app.extensions["outbox"].database(app).dispose()


KINDS = (SENSITIVE, OTHER)


def secret_mail(state: State, kind: str) -> Mail:
    return Mail(
        {f"{state}-{kind}@example.org": state},
        kind=kind,
        text="secret-token",
        html="<p>secret-token</p>",
        tries=[GREYLISTED],
        headers={"List-Unsubscribe": "<https://example.org/secret-header>"},
        attachments=[("secret-name.pdf", "application/pdf", b"secret-token" * 20)],
    )


def blueprint(made: Pages) -> Any:
    def has(right: str) -> Any:
        def check() -> bool:
            if made.rights is None:
                abort(redirect("/log-in"))
            return right in made.rights

        return check

    return outbox.web.blueprint(
        may_view=has(LOOK),
        may_read_bodies=has(READ),
        may_act=has(ACT),
        may_send_now=has(SEND_NOW),
        may_erase=has(ERASE),
        actor=lambda: "ann@example.org",
    )


def client_and_token(pages: Pages) -> tuple[FlaskClient, str]:
    """A browser with a token that is good, whatever it may do."""
    client = pages.app.test_client()
    with pages.app.test_request_context():
        token = csrf.token()
        held = dict(session)
    with client.session_transaction() as theirs:
        theirs.update(held)
    return client, token


def send(client: FlaskClient, route: Route, method: str, id: int, token: str | None) -> TestResponse:
    form = {name: value.format(id=id) for name, value in route.form.items()}
    if token is not None:
        form[csrf.FIELD] = token
    return client.open(ROOT + route.path.format(id=id), method=method, data=form if method == "POST" else None)


def is_of_a_mail(route: Route) -> bool:
    return "{id}" in route.path or "{id}" in route.form.values()


@pytest.mark.parametrize("visitor", VISITORS)
@pytest.mark.parametrize(("endpoint", "method"), ROUTES, ids=lambda word: word)
def test_each_route(pages: Pages, endpoint: str, method: str, visitor: str) -> None:
    """Who lacks a right gets 403 (the log-in, if unknown), sees no word of any body and changes nothing.

    Who has it changes the mail in the states that the table names and in no other, and sensitive mail only where the
    table says so; a GET changes nothing but the note of who looked.
    """
    pages.rights = rights = VISITORS[visitor]
    client, token = client_and_token(pages)
    for route in ROUTES[endpoint, method]:
        allowed = rights is not None and route.needs <= rights
        for (state, kind), id in pages.ids.items() if is_of_a_mail(route) else [((State.QUEUED, OTHER), 1)]:
            where = f"{visitor}: {method} {route.path} {route.form} {state} {kind}"
            before, delivery = pages.state(), pages.delivery(id)
            response = send(client, route, method, id, token)
            if not allowed:
                assert response.status_code == (302 if rights is None else 403), where
            else:
                assert response.status_code in route.answers, where
            text = response.get_data().decode("utf-8", "replace")  # an export is not text
            for secret in SECRETS:
                seen = secret in text or secret in str(response.headers)
                assert not seen or (route.shows and rights is not None and {LOOK, READ} <= rights), f"{where}: {secret}"
            if allowed and route.shows and READ in rights and response.status_code != 303:  # type: ignore[operator]
                assert any(secret in response.text for secret in SECRETS), where
            should = allowed and state in route.changes and (kind == OTHER or route.sensitive_too)
            assert (pages.state() != before) is should, where
            if is_of_a_mail(route) and not route.adds:
                assert (pages.delivery(id) != delivery) is should, where
            if should:
                pages.put_back()


@pytest.mark.parametrize(("endpoint", "method"), [key for key in ROUTES if key[1] == "POST"], ids=lambda word: word)
def test_each_post_needs_a_token(pages: Pages, endpoint: str, method: str) -> None:
    """Without a token of its own session it is refused with 400, even to who may do everything."""
    pages.rights = VISITORS["all"]
    client, _ = client_and_token(pages)
    _, foreign = client_and_token(pages)
    before = pages.state()
    for route in ROUTES[endpoint, method]:
        for token in (None, "", foreign):
            assert send(client, route, method, pages.ids[State.FAILED, OTHER], token).status_code == 400, route
    assert pages.state() == before


@pytest.mark.parametrize(("endpoint", "method"), ROUTES, ids=lambda word: word)
def test_no_other_method(pages: Pages, endpoint: str, method: str) -> None:
    """What changes is not reached by GET, and what shows is not reached by POST."""
    pages.rights = VISITORS["all"]
    client, token = client_and_token(pages)
    id = pages.ids[State.FAILED, OTHER]
    before = pages.state()
    for other in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {of for name, of in ROUTES if name == endpoint}:
        for route in ROUTES[endpoint, method]:
            path = ROOT + route.path.format(id=id)
            response = client.open(path, method=other, data={csrf.FIELD: token, "action": "cancel", "id": id})
            assert response.status_code in {404, 405}, f"{other} {path}"
    assert pages.state() == before


@pytest.mark.parametrize("word", ["search", "subject", "error", "recipient"])
def test_no_search_tells_what_a_body_says(pages: Pages, word: str) -> None:
    """Words of a body, a header or an attachment's name find nothing: who may not read could guess them otherwise."""
    pages.rights = VISITORS["looks"]
    for part in ("cret-tok", "cret-head", "cret-name"):
        page = pages.app.test_client().get(f"{ROOT}/mail?{word}={part}").text
        assert not A_MAIL.search(page), part
    assert A_MAIL.search(pages.app.test_client().get(f"{ROOT}/mail").text)


@pytest.mark.parametrize("state", State, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_page_offers_is_what_may_be_done(pages: Pages, state: State, kind: str) -> None:
    """The page of one mail has a form for the correction only where the request would get through."""
    for visitor, rights in VISITORS.items():
        if rights is None or LOOK not in rights:
            continue
        pages.rights = rights
        page = pages.app.test_client().get(f"{ROOT}/mail/{pages.ids[state, kind]}").text
        [route] = ROUTES["correct", "POST"]
        offered = route.needs <= rights and state in route.changes and kind == OTHER
        assert (f'/mail/{pages.ids[state, kind]}/recipient"' in page) is offered, visitor
