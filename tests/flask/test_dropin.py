"""Flask-Mail's own way of use, with `Outbox` in place of `Mail`: what an application wrote for the one works."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import flask_mail
import pytest
from flask import Flask, current_app
from flask_mail import Attachment, Mail, email_dispatched
from sqlalchemy.orm import Session, scoped_session

from outbox import (
    AddressError,
    BadHeaderError,
    Message,
    MissingFieldError,
    NotBoundError,
    Outbox,
    OutboxError,
    RawMessage,
    split_addresses,
)
from outbox import Message as OwnMessage
from tests.flask.conftest import Committed

Db = scoped_session[Session]

MESSAGES = pytest.mark.parametrize("message_class", [flask_mail.Message, OwnMessage], ids=["flask_mail", "outbox"])


@MESSAGES
@pytest.mark.usefixtures("context")
def test_send(message_class: type[flask_mail.Message], outbox: Outbox, db: Db, committed: Committed) -> None:
    """`send` writes the message with all that Flask-Mail's Message can hold."""
    message = message_class(
        "Café",
        recipients=["ann@example.org", ("Bob B.", "bob@example.org")],
        sender=("Shop", "shop@example.org"),
        cc=["cc@example.org"],
        bcc=["secret@example.org"],
        reply_to="help@example.org",
        body="Grüße",
        html="<p>Grüße</p>",
        charset="iso-8859-1",
        extra_headers={"X-Campaign": "7"},
        date=0.0,
    )
    outbox.send(message)
    db.commit()
    mail = committed.mail()
    assert mail["Subject"] == "Café"
    assert mail["From"] == "Shop <shop@example.org>"
    assert mail["To"] == 'ann@example.org, "Bob B." <bob@example.org>'
    assert mail["Cc"] == "cc@example.org"
    assert mail["Reply-To"] == "help@example.org"
    assert mail["X-Campaign"] == "7"
    assert mail["Date"].datetime == datetime(1970, 1, 1, tzinfo=UTC)
    text, html = mail.iter_parts()
    assert (text.get_content().strip(), html.get_content().strip()) == ("Grüße", "<p>Grüße</p>")
    assert text.get_content_charset() == "iso-8859-1"


@pytest.mark.usefixtures("context")
def test_bcc_is_in_the_envelope_only(outbox: Outbox, db: Db, committed: Committed) -> None:
    """A blind copy is delivered, and no header betrays it."""
    outbox.send_message("s", recipients=["ann@example.org"], bcc=["secret@example.org"], body="b")
    db.commit()
    assert committed.recipients() == ["ann@example.org", "secret@example.org"]
    assert "secret" not in committed.mail().as_string()


@MESSAGES
@pytest.mark.usefixtures("context")
def test_attachments(message_class: type[flask_mail.Message], outbox: Outbox, db: Db, committed: Committed) -> None:
    """`attach` and `attachments=` keep name, type, disposition, headers and data."""
    message = message_class(
        "s",
        recipients=["ann@example.org"],
        body="b",
        attachments=[Attachment("notes.txt", "text/plain", "some notes")],
    )
    message.attach("Übersicht.pdf", "application/pdf", b"%PDF\x00\xff", headers={"X-Part": "1"})
    outbox.send(message)
    db.commit()
    notes, report = committed.mail().iter_attachments()
    assert (notes.get_filename(), notes.get_content().strip()) == ("notes.txt", "some notes")
    assert (report.get_filename(), report.get_content_type()) == ("Übersicht.pdf", "application/pdf")
    assert report.get_content() == b"%PDF\x00\xff"
    assert report["X-Part"] == "1"


def test_ascii_attachments(make_app: Callable[..., Flask], outbox: Outbox, db: Db, committed: Committed) -> None:
    """MAIL_ASCII_ATTACHMENTS reduces the names of attachments."""
    with make_app(MAIL_ASCII_ATTACHMENTS=True).app_context():
        message = OwnMessage("s", recipients=["ann@example.org"], body="b")
        message.attach("Übersicht.pdf", "application/pdf", b"%PDF")
        outbox.send(message)
        db.commit()
    (report,) = committed.mail().iter_attachments()
    assert report.get_filename() == "Ubersicht.pdf"


@pytest.mark.usefixtures("context")
def test_send_message(outbox: Outbox, db: Db, committed: Committed) -> None:
    """`send_message` takes the arguments of Message, and the sender is the default one."""
    assert outbox.send_message("Hello", recipients=["ann@example.org"], body="b") is None
    db.commit()
    assert committed.mail()["From"] == "shop@example.org"


def test_default_sender_may_be_a_pair(
    make_app: Callable[..., Flask], outbox: Outbox, db: Db, committed: Committed
) -> None:
    """MAIL_DEFAULT_SENDER may be a name and an address."""
    with make_app(MAIL_DEFAULT_SENDER=("The Shop", "shop@example.org")).app_context():
        outbox.send(flask_mail.Message("s", recipients=["ann@example.org"], body="b"))
        db.commit()
    assert committed.mail()["From"] == "The Shop <shop@example.org>"


@pytest.mark.usefixtures("context")
def test_connect(outbox: Outbox, db: Db, committed: Committed) -> None:
    """A connection enqueues, with `with` and without, by `send`, by `send_message`, and by the message's own `send`."""
    with outbox.connect() as connection:
        connection.send(flask_mail.Message("1", recipients=["a@example.org"], body="b"))
        connection.send_message("2", recipients=["b@example.org"], body="b")
        flask_mail.Message("3", recipients=["c@example.org"], body="b").send(connection)
        assert connection.num_emails == 3
    outbox.connect().send_message("4", recipients=["d@example.org"], body="b")
    db.commit()
    assert committed.subjects() == ["1", "2", "3", "4"]


@pytest.mark.usefixtures("context")
def test_connection_reaches_no_mail_server(outbox: Outbox) -> None:
    """Who asks the connection to dial is told that it only enqueues."""
    with pytest.raises(OutboxError, match="only enqueues"):
        outbox.connect().configure_host()


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("envelope_from", ["bounces@example.org", ("Bounces", "bounces@example.org")])
def test_envelope_from(envelope_from: Any, outbox: Outbox, db: Db, committed: Committed) -> None:
    """`envelope_from` is the address for MAIL FROM; From stays as it is."""
    with outbox.connect() as connection:
        message = flask_mail.Message("s", recipients=["a@example.org"], body="b")
        connection.send(message, envelope_from=envelope_from)
    db.commit()
    assert committed.messages()[0].envelope_from == "bounces@example.org"
    assert committed.mail()["From"] == "shop@example.org"


@pytest.mark.usefixtures("context")
def test_third_party_extensions_enqueue(db: Db, committed: Committed) -> None:
    """What Flask-Security and others do by `current_app.extensions["mail"]` enqueues too."""
    mail = current_app.extensions["mail"]
    mail.send(flask_mail.Message("1", recipients=["a@example.org"], body="b"))
    mail.send_message("2", recipients=["a@example.org"], body="b")
    with mail.connect() as connection, mail.record_messages() as recorded:
        connection.send_message("3", recipients=["a@example.org"], body="b")
    db.commit()
    assert committed.subjects() == ["1", "2", "3"]
    assert [message.subject for message in recorded] == ["3"]


def test_rolled_back_mail_is_nowhere(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """The mail of a view that fails does not exist: this is what the outbox is for."""

    @app.get("/")
    def view() -> str:
        outbox.send_message("s", recipients=["a@example.org"], body="b")
        raise LookupError

    with pytest.raises(LookupError):
        app.test_client().get("/")
    db.commit()
    assert committed.messages() == []


def test_record_messages(app: Flask, outbox: Outbox, db: Db) -> None:
    """`record_messages` has what a request enqueued, as existing tests expect it."""

    @app.get("/")
    def view() -> str:
        outbox.send_message("Hello", recipients=["a@example.org"], body="b")
        db.commit()
        return "done"

    with outbox.record_messages() as recorded:
        app.test_client().get("/")
        app.test_client().get("/")
        assert [message.subject for message in recorded] == ["Hello", "Hello"]
    app.test_client().get("/")
    assert len(recorded) == 2


@pytest.mark.usefixtures("context")
def test_every_way_of_sending_is_recorded(app: Flask, outbox: Outbox) -> None:
    """Whatever enqueues sends the signal, so that `record_messages` misses nothing."""
    with outbox.record_messages() as recorded:
        outbox.enqueue(flask_mail.Message("1", recipients=["a@example.org"], body="b"), key="once")
        outbox.enqueue(flask_mail.Message("1", recipients=["a@example.org"], body="b"), key="once")
    assert [message.subject for message in recorded] == ["1"]


@pytest.mark.usefixtures("context")
def test_signal(app: Flask, outbox: Outbox) -> None:
    """`email_dispatched` is sent by the application, with the message, when it is enqueued."""
    seen = []

    def receive(sender: Flask, message: flask_mail.Message) -> None:
        seen.append((sender, message))

    message = flask_mail.Message("s", recipients=["a@example.org"], body="b")
    with email_dispatched.connected_to(receive, app):
        outbox.send(message)
    assert seen == [(app, message)]


@pytest.mark.usefixtures("context")
def test_message_knows_its_date_and_message_id(outbox: Outbox, db: Db, committed: Committed) -> None:
    """Once sent, `date` and `msgId` are those of the mail, so that a reply can refer to it."""
    message = flask_mail.Message("s", recipients=["a@example.org"], body="b")
    outbox.send(message)
    db.commit()
    mail = committed.mail()
    assert message.msgId == mail["Message-ID"]
    assert message.msgId.endswith("@example.org>")
    assert message.date is not None
    assert abs(datetime.fromtimestamp(message.date, UTC) - mail["Date"].datetime) < timedelta(seconds=1)


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("message_class", [flask_mail.Message, OwnMessage])
def test_a_message_sent_twice_is_two_messages(
    message_class: type[flask_mail.Message], outbox: Outbox, db: Db, committed: Committed
) -> None:
    """The `msgId` that we write into it is not taken for the application's own; one of those is kept."""
    message = message_class("s", recipients=["a@example.org"], body="b")
    outbox.send(message)
    first = message.msgId
    outbox.send(message)
    assert message.msgId != first
    message.msgId = "<ticket-17@example.org>"
    outbox.send(message)
    outbox.send(message)
    db.commit()
    ids = [one.message_id for one in committed.messages()]
    assert len(set(ids)) == 3
    assert ids[0] == first
    assert ids[2:] == ["<ticket-17@example.org>"] * 2


@pytest.mark.parametrize("config", [{"TESTING": True}, {"TESTING": False, "MAIL_SUPPRESS_SEND": True}])
def test_suppressed_mail_is_enqueued(
    config: dict[str, Any], make_app: Callable[..., Flask], outbox: Outbox, db: Db, committed: Committed
) -> None:
    """MAIL_SUPPRESS_SEND is the worker's business: rows are written as usual."""
    with make_app(**config).app_context():
        assert outbox.suppress is True
        outbox.send_message("s", recipients=["a@example.org"], body="b")
        db.commit()
    assert committed.subjects() == ["s"]


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"subject": "a\r\nBcc: b@example.org"}, (flask_mail.BadHeaderError, BadHeaderError)),
        ({"sender": "a@example.org\r\n"}, (flask_mail.BadHeaderError, BadHeaderError)),
        ({"reply_to": "a@example.org\n"}, (flask_mail.BadHeaderError, BadHeaderError)),
        ({"recipients": ["a\n@example.org"]}, (flask_mail.BadHeaderError, BadHeaderError)),
        ({"recipients": []}, (AssertionError, MissingFieldError)),
        ({"recipients": ["nobody"]}, (ValueError, AddressError)),
    ],
)
def test_refused_as_by_flask_mail(
    fields: dict[str, Any], errors: tuple[type[Exception], ...], outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Where Flask-Mail raises, a subclass of the same error is raised, and nothing is written."""
    message = flask_mail.Message(**{"subject": "s", "recipients": ["a@example.org"], "body": "b"} | fields)
    with pytest.raises(errors[0]) as caught:
        outbox.send(message)
    assert isinstance(caught.value, errors[1])
    db.commit()
    assert committed.messages() == []


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(
    "call",
    [
        lambda outbox: outbox.send_many([flask_mail.Message("a\nb", recipients=["a@example.org"], body="b")]),
        lambda outbox: outbox.connect().send_message("a\nb", recipients=["a@example.org"], body="b"),
        lambda outbox: outbox.enqueue(Message("s", ["a@example.org"], body="b"), envelope_from="a\n@example.org"),
        lambda outbox: RawMessage(b"From: a@example.org\r\nFrom: b@example.org\r\n\r\nb\r\n", ["a@example.org"]),
        lambda outbox: split_addresses("a\n@example.org"),
    ],
)
def test_every_door_raises_flask_mails_bad_header(call: Callable[[Outbox], Any], outbox: Outbox) -> None:
    """Whichever call finds a bad header, `except flask_mail.BadHeaderError` catches it, and so does ours."""
    with pytest.raises(flask_mail.BadHeaderError) as caught:
        call(outbox)
    assert type(caught.value) is BadHeaderError
    assert caught.value.field


def test_sender_is_needed(make_app: Callable[..., Flask], outbox: Outbox) -> None:
    """Without a sender and a default one, an AssertionError as in Flask-Mail."""
    with make_app(MAIL_DEFAULT_SENDER=None).app_context(), pytest.raises(AssertionError, match="MAIL_DEFAULT_SENDER"):
        outbox.send_message("s", recipients=["a@example.org"], body="b")


@pytest.mark.usefixtures("context")
def test_folded_subject(outbox: Outbox, db: Db, committed: Committed) -> None:
    """A subject folded by RFC 5322 is accepted, as in Flask-Mail, and unfolded."""
    outbox.send_message("one\r\n two", recipients=["a@example.org"], body="b")
    db.commit()
    assert committed.mail()["Subject"] == "one two"


def test_it_is_a_mail(outbox: Outbox) -> None:
    """Code that asks for a flask_mail.Mail gets one."""
    assert isinstance(outbox, Mail)


def test_application_in_the_constructor(db: Db) -> None:
    """`Outbox(app)` binds at once, and `state` is what `init_app` returned."""
    app = Flask(__name__)
    app.config.update(MAIL_SERVER="localhost", MAIL_PORT=2525, MAIL_DEFAULT_SENDER="shop@example.org")
    outbox = Outbox(app, session=db)
    assert outbox.app is app
    assert outbox.state is app.extensions["mail"]
    assert (outbox.server, outbox.port, outbox.default_sender) == ("localhost", 2525, "shop@example.org")
    assert outbox.connect().mail is outbox.state


def test_state_of_an_application_bound_later(app: Flask, outbox: Outbox) -> None:
    """After `init_app` there is no one state, as in Flask-Mail; in a context its attributes are the application's."""
    assert outbox.state is None
    assert outbox.server is None
    with app.app_context():
        assert outbox.server == "127.0.0.1"
        assert outbox.default_sender == "shop@example.org"


def test_state_has_the_attributes_of_flask_mails(make_app: Callable[..., Flask]) -> None:
    """`app.extensions["mail"]` can be asked for everything that Flask-Mail's can."""
    plain = Flask(__name__)
    ours = make_app(MAIL_DEFAULT_SENDER=None, TESTING=False).extensions["mail"]
    theirs = Mail().init_app(plain)
    assert {name: getattr(ours, name) for name in vars(theirs)} == vars(theirs)


@pytest.mark.parametrize(("testing", "debug"), [(True, True), (False, False)])
def test_init_mail(testing: bool, debug: bool, outbox: Outbox) -> None:
    """`init_mail` reads a configuration without an application, as in Flask-Mail."""
    config = {"MAIL_SERVER": "localhost", "MAIL_PORT": 2525, "MAIL_DEFAULT_SENDER": "a@example.org"}
    assert vars(outbox.init_mail(config, debug, testing)) == vars(Mail().init_mail(config, debug, testing))


def test_application_that_was_not_bound(outbox: Outbox) -> None:
    """A RuntimeError, as in Flask-Mail, that says what to do."""
    with Flask("other").app_context():
        for use in (outbox.connect, outbox.settings, outbox.database, outbox.send_message):
            with pytest.raises(RuntimeError, match=r"'other' has no outbox.*init_app") as caught:
                use()
            assert isinstance(caught.value, NotBoundError)


def test_own_message_is_flask_mails() -> None:
    """`outbox.Message` takes the same arguments and has the same fields, whatever they are."""
    app = Flask(__name__)
    Mail(app)
    with app.app_context():
        arguments = {
            "subject": "s",
            "recipients": ["a@example.org"],
            "sender": ("n", "a@example.org"),
            "alts": {"html": "h"},
            "cc": ["c@example.org"],
        }
        ours, theirs = _fields(OwnMessage(**arguments)), _fields(flask_mail.Message(**arguments))
        assert _fields(OwnMessage()) == _fields(flask_mail.Message())
    assert ours["alts"] == {"html": "h"}  # Flask-Mail loses it
    assert ours | {"alts": {}} == theirs
    own, others = (inspect.signature(kind.__init__).parameters for kind in (OwnMessage, flask_mail.Message))
    assert list(own) == list(others)
    assert [parameter.default for parameter in own.values()] == [parameter.default for parameter in others.values()]


def _fields(message: flask_mail.Message) -> dict[str, Any]:
    """What is public of it, but for the Message-ID, which is random."""
    return {name: value for name, value in vars(message).items() if name[0] != "_" and name != "msgId"}


@pytest.mark.usefixtures("context")
def test_no_host_name_is_looked_up(outbox: Outbox, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flask-Mail's own Message asks the name server for this machine's name; mail made here does not."""

    def look_up(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a look-up in the request")

    for name in ("getfqdn", "gethostbyaddr", "gethostbyname", "getaddrinfo"):
        monkeypatch.setattr(f"socket.{name}", look_up)
    outbox.send_message("s", recipients=["a@example.org"], body="b")
    outbox.connect().send_message("s", recipients=["a@example.org"], body="b")
    outbox.enqueue(OwnMessage("s", recipients=["a@example.org"], body="b"))
    chosen = OwnMessage("s", recipients=["a@example.org"], body="b", sender="shop@example.org")
    chosen.msgId = "<173000000000.12345.1234567890@example.org>"  # as make_msgid(domain="example.org") makes one
    assert outbox.enqueue(chosen).message_id == chosen.msgId
    with pytest.raises(AssertionError, match="a look-up"):
        flask_mail.Message("s", recipients=["a@example.org"], body="b")
