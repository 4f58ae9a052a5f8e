"""`always_bcc`: a copy by a delivery of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from outbox import ConfigurationError, KeyTakenError, Message, Outbox, operations
from outbox.models import OutboxDelivery, OutboxMessage
from tests.db.mails import put
from tests.flask.conftest import Committed
from tests.flask.terminal import Terminal

MakeApp = Callable[..., Flask]
Db = scoped_session[Session]
COPY = "archive@example.net"


def hello(**fields: Any) -> Message:
    return Message(**{"subject": "Hello", "recipients": ["ann@example.org"], "body": "x"} | fields)


@pytest.mark.parametrize(
    ("policy", "copied"),
    [
        ({}, COPY),
        ({"category": "security"}, None),
        ({"sensitive": True}, None),
        ({"category": "security", "always_bcc": True}, COPY),
        ({"category": "security", "always_bcc": "audit@example.net"}, "audit@example.net"),
        ({"always_bcc": False}, None),
    ],
    ids=str,
)
def test_who_gets_one(
    policy: dict[str, Any], copied: str | None, make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """As the kind says, else the settings; of secrets nobody unless the kind asks for it. No header has it."""
    app = make_app(OUTBOX_ALWAYS_BCC=COPY)
    kind = outbox.kind("of", **policy)
    with app.app_context():
        kind.enqueue(hello())
        db.commit()
    assert committed.recipients() == sorted(filter(None, ["ann@example.org", copied]))
    (message,) = committed.messages()
    with committed.engine.connect() as connection:
        assert copied is None or copied.encode() not in operations.wire(connection, message.id, copied)
        for row in connection.execute(sa.select(OutboxDelivery.id, OutboxDelivery.recipient)):
            found = operations.show(connection, row.id)
            assert found is not None
            assert found.is_copy is (row.recipient == copied)


def test_kinds_that_only_a_setting_calls_sensitive(
    make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Are as secret as those whose code says so."""
    app = make_app(OUTBOX_ALWAYS_BCC=COPY, OUTBOX_SENSITIVE_KINDS="reset")
    with app.app_context():
        outbox.enqueue(hello(), kind="reset")
        db.commit()
    assert committed.recipients() == ["ann@example.org"]


def test_once_and_not_part_of_what_a_key_stands_for(
    make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Who gets it anyway gets it once; the same message under its key, with and without the setting, is one."""
    before, after = make_app(), Outbox()
    with before.app_context():
        outbox.enqueue(hello(cc=["Archive@Example.NET"]), key="k")
        db.commit()
    app = Flask("after")
    app.config.update(before.config, OUTBOX_ALWAYS_BCC=COPY)
    after.init_app(app, session=db)
    with app.app_context():
        after.enqueue(hello(cc=["Archive@Example.NET"]), key="k")
        with pytest.raises(KeyTakenError):
            after.enqueue(hello(), key="k")
        after.enqueue(hello(cc=["Archive@Example.NET"]))
        db.commit()
    assert len(committed.recipients()) == 4


def test_with_a_throttle_and_a_newest_that_wins(
    make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """A copy does not count, and goes with the message that is replaced."""
    app = make_app(OUTBOX_ALWAYS_BCC=COPY)
    kind = outbox.kind("code", throttle="2/hour", replace="queued")
    with app.app_context():
        for _ in range(3):
            kind.enqueue(hello())
            db.commit()
    with committed.engine.connect() as connection:
        rows = connection.execute(
            sa.select(OutboxDelivery.state, sa.func.count().label("number")).group_by(OutboxDelivery.state)
        )
        assert {row.state: row.number for row in rows} == {"cancelled": 4, "queued": 2}


def test_what_is_not_an_address(make_app: MakeApp, outbox: Outbox) -> None:
    """Is a fault at the start, of the settings and of a kind."""
    with pytest.raises(ConfigurationError, match="OUTBOX_ALWAYS_BCC"):
        make_app(OUTBOX_ALWAYS_BCC="archive@bücher.example, x")
    with pytest.raises(ConfigurationError, match="always_bcc"):
        outbox.kind("of", always_bcc="nowhere")


def test_the_terminal_marks_it(terminal: Terminal) -> None:
    """Whichever of the message's recipients is shown."""
    ids = put(terminal.engine, "ann@example.org", COPY)
    with terminal.engine.begin() as connection:
        connection.execute(sa.update(OutboxMessage).values(options={"copy": [COPY]}))
    for id in ids:
        assert terminal.here("outbox-show", str(id)).stdout.count(f"{COPY}  (a copy: always_bcc)") == 1
