"""Kinds: what their policy does to a message, who goes before whom, and when it counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from jinja2 import DictLoader
from sqlalchemy.orm import Session, scoped_session

from outbox import Message, MessageError, Outbox, RawMessage, operations
from outbox.cli import route_hints
from outbox.core.errors import ConfigurationError
from outbox.delivery.states import Lane, State
from outbox.extension.state import bound_to
from outbox.models import OutboxDelivery, OutboxMessage
from outbox.store.types import DbNow
from outbox.testing.mailbox import Mailbox
from tests.flask.conftest import Committed
from tests.flask.terminal import APP, Terminal
from tests.servers.databases import Database
from tests.web.site import site

MakeApp = Callable[..., Flask]
Db = scoped_session[Session]

RESET: dict[str, Any] = {
    "category": "security",
    "priority": "high",
    "max_age": 3600,
    "on_uncertain": "hold",
    "sensitive": True,
    "sender": ("Security", "security@example.org"),
    "reply_to": "help@example.org",
    "headers": {"X-Tag": "reset"},
}


def hello(**fields: Any) -> Message:
    return Message(**{"subject": "Hello", "recipients": ["ann@example.org"], "body": "x"} | fields)


@pytest.mark.parametrize(
    "way", ["kind.enqueue", "kind.send_email", "kind.enqueue_many", "mail.enqueue", "mail.enqueue_many, each"]
)
def test_its_policy_holds_by_each_way(
    way: str, make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Whether it is sent by the kind or by its name."""
    app = make_app()
    app.jinja_loader = DictLoader({"mail/reset.txt": "{{ kind }} {{ key }}"})
    reset = outbox.kind("password-reset", **RESET)
    with app.app_context():
        message = hello()
        if way == "kind.enqueue":
            reset.enqueue(message)
        elif way == "kind.send_email":
            reset.send_email("ann@example.org", "Hello", "mail/reset", kind="of the template", key=1)
        elif way == "kind.enqueue_many":
            reset.enqueue_many([message])
        elif way == "mail.enqueue":
            outbox.enqueue(message, kind="password-reset")
        else:
            outbox.enqueue_many([(message, {"kind": "password-reset"})], kind="another")
        db.commit()
        assert message.sender == "shop@example.org"  # the caller's message is not changed
    mail, (stored,) = committed.mail(), committed.messages()
    assert (mail["From"], mail["Reply-To"], mail["X-Tag"]) == (
        "Security <security@example.org>",
        "help@example.org",
        "reset",
    )
    assert stored.message_id.endswith("@example.org>")
    assert (stored.kind, stored.lane, stored.on_uncertain) == ("password-reset", Lane.HIGH.rank, "hold")
    assert stored.expires_at is not None
    assert abs(stored.expires_at - stored.created_at - timedelta(hours=1)) < timedelta(seconds=1)
    if way == "kind.send_email":
        assert mail.get_content().strip() == "of the template 1"


def test_what_is_said_goes_before_the_policy(make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed) -> None:
    """By the message itself and by the options; the policy goes before the settings."""
    app = make_app(
        OUTBOX_REPLY_TO="all@example.org",
        OUTBOX_HEADERS={"x-tag": "all", "X-Mailer": "shop"},
        OUTBOX_ON_UNCERTAIN="hold",
    )
    kind = outbox.kind("receipt", **{**RESET, "on_uncertain": "retry"})
    with app.app_context():
        kind.enqueue(hello())
        own = hello(sender="own@example.org", reply_to="own@example.org", extra_headers={"X-TAG": "own"})
        kind.enqueue(own, priority="bulk", on_uncertain="hold")
        db.commit()
    first, second = committed.messages()
    said = dict(map(tuple, first.headers))
    assert (said["From"], said["Reply-To"], said["X-Tag"], said["X-Mailer"]) == (
        "Security <security@example.org>",
        "help@example.org",
        "reset",
        "shop",
    )
    assert "x-tag" not in said
    assert (first.lane, first.on_uncertain) == (Lane.HIGH.rank, "retry")
    said = dict(map(tuple, second.headers))
    assert (said["From"], said["Reply-To"], said["X-TAG"]) == ("own@example.org", "own@example.org", "own")
    assert "X-Tag" not in said
    assert (second.lane, second.on_uncertain) == (Lane.BULK.rank, "hold")


def test_the_operators_word_goes_before_the_codes(
    make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """OUTBOX_ON_UNCERTAIN_KINDS names this kind."""
    app = make_app(OUTBOX_ON_UNCERTAIN_KINDS={"receipt": "hold"})
    kind = outbox.kind("receipt", on_uncertain="retry")
    with app.app_context():
        kind.enqueue(hello())
        db.commit()
    assert committed.messages()[0].on_uncertain == "hold"


@pytest.mark.parametrize("default", ["shop@example.org", ("Shop", "shop@example.org"), None])
def test_the_default_sender_gives_way(
    default: Any, make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """In whatever form it is configured, also where there is none."""
    app = make_app(MAIL_DEFAULT_SENDER=default)
    kind = outbox.kind("receipt", sender="receipts@example.org")
    with app.app_context():
        kind.enqueue(hello())
        db.commit()
    assert committed.mail()["From"] == "receipts@example.org"


def test_bytes_of_the_applications_own_stay(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """Nothing can be written into them."""
    kind = outbox.kind("receipt", sender="receipts@example.org", priority="bulk")
    raw = b"From: shop@example.org\r\nTo: ann@example.org\r\nSubject: Hello\r\n\r\nx\r\n"
    with app.app_context():
        kind.enqueue(RawMessage(raw))
        db.commit()
    assert committed.mail()["From"] == "shop@example.org"
    assert committed.messages()[0].lane == Lane.BULK.rank


def test_an_unknown_kind_is_refused_if_asked_for(
    make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """With the one that was meant; mail without a kind is not, since extensions know nothing of kinds, nor is that of
    outbox-test-mail."""
    app = make_app(OUTBOX_KINDS_STRICT=True)
    outbox.kind("password-reset")
    with app.app_context():
        outbox.enqueue(hello(), kind="password-reset")
        outbox.enqueue(hello())
        outbox.enqueue(hello(), kind="test-mail")
        for send in (
            lambda: outbox.enqueue(hello(), kind="passwort-reset"),
            lambda: outbox.enqueue_many([hello()], kind="passwort-reset"),
            lambda: outbox.enqueue_many([(hello(), {"kind": "passwort-reset"})]),
        ):
            with pytest.raises(MessageError) as caught:
                send()
            assert caught.value.field == "kind"
            assert caught.value.remedy.startswith(
                "Did you mean 'password-reset'? Defined are password-reset: define it"
            )
        db.commit()
    assert [message.kind for message in committed.messages()] == ["password-reset", None, "test-mail"]


def test_an_unknown_kind_is_allowed_otherwise(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """It is a label."""
    with app.app_context():
        outbox.enqueue(hello(), kind="whatever")
        db.commit()
    assert committed.messages()[0].kind == "whatever"


def test_a_kind_does_not_send_another(app: Flask, outbox: Outbox) -> None:
    """Its name may be repeated."""
    kind = outbox.kind("receipt")
    with app.app_context():
        kind.enqueue(hello(), kind="receipt")
        with pytest.raises(TypeError, match="kind='news' was given to the kind 'receipt'"):
            kind.enqueue(hello(), kind="news")


def test_a_policy_that_is_changed(make_app: MakeApp, db: Db, committed: Committed, engine: sa.Engine) -> None:
    """What is stored with a message stays as it was enqueued; whether it is sensitive is asked when it was sent."""
    before, after = Outbox(), Outbox()
    app = Flask("before")
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.org")
    before.init_app(app, session=db)
    kind = before.kind("reset", priority="high", sender="old@example.org", max_age=3600)
    with app.app_context():
        kind.enqueue(hello())
        db.commit()
    release = Flask("after")
    release.config.update(app.config)
    after.kind("reset", priority="bulk", sender="new@example.org", max_age=60, sensitive=True)
    after.init_app(release, session=db)
    (stored,) = committed.messages()
    assert stored.lane == Lane.HIGH.rank
    assert committed.mail()["From"] == "old@example.org"
    assert stored.expires_at is not None
    assert stored.expires_at - stored.created_at > timedelta(minutes=59)
    with engine.begin() as connection:
        ended = {"state": State.SENT.value, "due_at": None, "finished_at": DbNow(-1)}
        connection.execute(sa.update(OutboxDelivery).values(ended))
    for worker, redacted in ((app, 0), (release, 1)):
        assert operations.Redactor(engine, bound_to(worker).sensitive_kinds, lag=0.0).run() == redacted


def test_sensitive_by_definition_or_by_setting(make_app: MakeApp, outbox: Outbox) -> None:
    """Both count, each once."""
    app = make_app(OUTBOX_SENSITIVE_KINDS="invite,reset")
    outbox.kind("reset", sensitive=True)
    outbox.kind("code", sensitive=True)
    outbox.kind("news")
    assert bound_to(app).sensitive_kinds == ("invite", "reset", "code")


def test_the_pages_know_it(seeded: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has a message of a sensitive kind sent elsewhere, and the page of kinds shows the policy."""
    made = site(seeded.url)
    made.app.extensions["outbox"].kind("password-reset", sensitive=True, throttle="3/hour")
    client = made.app.test_client()
    with seeded.engine.connect() as connection:
        [row, *_] = operations.find(connection, operations.Filter(kind="password-reset", states=(State.FAILED,)))
    page = client.get(f"/admin/outbox/mail/{row.id}").text
    kinds = client.get("/admin/outbox/kinds").text
    made.close()
    assert "so the recipient can&#39;t be corrected" in page or "so the recipient can't be corrected" in page
    assert "throttle: <bdi>3/hour</bdi>" in kinds


def test_the_terminal_shows_it(terminal: Terminal) -> None:
    """Also of a kind of which there is no mail."""
    (terminal.folder / "trial.py").write_text(
        APP.replace("    Outbox().init_app(app)", "    mail = Outbox(app)\n    mail.kind('reset', **RESET)").replace(
            "def create_app", f"RESET = {RESET!r}\n\ndef create_app"
        )
    )
    done = terminal.run("outbox-kinds", "--json")
    (row,) = json.loads(done.stdout)["kinds"]
    assert (row["kind"], row["sent"], row["policy"]["priority"]) == ("reset", 0, "high")
    lines = terminal.run("outbox-kinds").stdout
    assert "No mail ended in this time" in lines
    assert "category=security, priority=high, max_age=3600 s" in lines


def test_a_policy_that_changes_holds_for_what_is_queued_from_the_next_attempt_on(
    make_app: MakeApp, db: Db, committed: Committed
) -> None:
    """Attempts and waits are the worker's; what was frozen when it was enqueued stays, priority among it."""
    app = make_app()
    before, after = Outbox(), Outbox()
    before.kind("code", attempts=3, retry_first=10, priority="high", headers={"X-Of": "before"})
    after.kind("code", attempts=2, retry_first=40, priority="bulk", headers={"X-Of": "after"})
    before.init_app(app, session=db)
    with app.app_context():
        before.enqueue(hello(), kind="code")
        db.commit()
    mailbox = Mailbox(app)
    (first,) = mailbox.drain("451 4.3.0 later")
    assert (first.state, first.delay) == ("queued", 10)
    after.init_app(app, session=db)  # deployed anew
    assert mailbox.drain() == []  # due when it was due before
    mailbox.travel(11)
    (second,) = mailbox.drain("451 4.3.0 later")
    assert (second.state, second.reason) == ("failed", "attempts")
    with db() as session:
        message = session.scalars(sa.select(OutboxMessage)).one()
        assert ["X-Of", "before"] in [list(one) for one in message.headers]
        assert message.deliveries[0].lane == Lane.HIGH.slot(retry=True)


def test_purge_by_hand_leaves_what_kinds_keep(terminal: Terminal) -> None:
    """Where it goes by the settings: it says which; a kind by name goes by its own time."""
    (terminal.folder / "trial.py").write_text(
        APP.replace("    Outbox().init_app(app)", "    Outbox(app).kind('receipt', retention=86400000)")
    )
    assert "without the kinds that are kept for a time of their own: receipt" in terminal.run("outbox-purge").stdout
    one = json.loads(terminal.run("outbox-purge", "--kind", "receipt", "--dry-run", "--json").stdout)
    assert one["older_than_seconds"] == 86400000
    other = json.loads(terminal.run("outbox-purge", "--older-than", "1d", "--dry-run", "--json").stdout)
    assert other["older_than_seconds"] == 86400


def test_a_kind_whose_transport_is_not_there(make_app: MakeApp, outbox: Outbox) -> None:
    """It is told when the application starts, with all other faults, whichever comes first."""
    ses = {"OUTBOX_TRANSPORTS": "ses", "OUTBOX_TRANSPORT_SES_URL": "smtps://mail.example.org"}
    outbox.kind("newsletter", transport="sess")
    with pytest.raises(ConfigurationError) as raised:
        make_app(**ses, OUTBOX_CONECTIONS=3)
    assert len(raised.value.faults) == 2
    assert "kind 'newsletter': OUTBOX_TRANSPORTS does not name its transport, 'sess'. Did you mean 'ses'?" in str(
        raised.value
    )


def test_a_kind_that_is_defined_after_the_start(make_app: MakeApp, outbox: Outbox) -> None:
    """Its transport is looked for as well."""
    make_app(OUTBOX_TRANSPORTS="ses", OUTBOX_TRANSPORT_SES_URL="smtps://mail.example.org")
    outbox.kind("reset", transport="SES")
    with pytest.raises(ConfigurationError, match="There are ses"):
        outbox.kind("newsletter", transport="bulk")


@pytest.mark.parametrize("strict", [False, True])
def test_a_rule_of_routes_for_kinds_that_are_not_there(strict: bool, make_app: MakeApp, outbox: Outbox) -> None:
    """outbox-check tells of it, and of one whose kinds go by a transport of their own."""
    rules = [{"kind": kind, "transports": ["ses"]} for kind in ("newslettr", "reset", "news*")]
    outbox.kind("newsletter")
    outbox.kind("reset", transport="ses")
    app = make_app(
        OUTBOX_TRANSPORTS="ses",
        OUTBOX_TRANSPORT_SES_URL="smtps://mail.example.org",
        OUTBOX_ROUTES=rules,
        OUTBOX_KINDS_STRICT=strict,
    )
    first, second = route_hints.findings(outbox.settings(app), app)
    assert (first.ok, first.remedy) == (False if strict else None, "Did you mean newsletter?")
    assert (second.ok, "rule 2: 'reset' names a transport of its own" in second.words) == (None, True)
