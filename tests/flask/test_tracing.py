"""Spans by OpenTelemetry: of the request, of what it enqueues, of each attempt to deliver that, in one trace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.orm import scoped_session, sessionmaker

from outbox import Message, MessageError, Outbox
from outbox.models import OutboxMessage
from outbox.testing.mailbox import Mailbox
from tests.servers.databases import Database

SECRET = ("ann", "bob", "Reset", "no such user")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """The application's, for one test: one that is set stays for the process."""
    made = TracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made)
    return made


@pytest.fixture
def spans(provider: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def mail(sqlite_database: Database) -> Iterator[Outbox]:
    app, made = Flask(__name__), Outbox()
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org")
    made.init_app(app, session=scoped_session(sessionmaker(sqlite_database.engine)))
    with app.app_context():
        yield made


def mailbox(mail: Outbox) -> Mailbox:
    return Mailbox(mail._bound().app)


def commit(mail: Outbox) -> None:
    mail._bound().sessions.current().commit()


def said(span: ReadableSpan, *names: str) -> tuple[object, ...]:
    return tuple((span.attributes or {}).get(name) for name in names)


def test_one_trace_from_the_request_to_each_attempt(
    mail: Outbox, provider: TracerProvider, spans: InMemorySpanExporter
) -> None:
    """With what happened, and without a name, a subject or a reply of it."""
    with provider.get_tracer("shop").start_as_current_span("POST /reset") as request:
        mail.enqueue(Message("Reset, Ann", ["ann@example.org", "bob@example.net"], "Open it."), kind="reset")
        commit(mail)
    mailbox(mail).drain({"bob@example.net": "550 5.1.1 no such user bob"})
    send, _, *attempts = spans.get_finished_spans()
    assert (send.name, send.kind, send.parent and send.parent.span_id) == (
        "send reset",
        trace.SpanKind.PRODUCER,
        request.get_span_context().span_id,
    )
    assert [(one.name, one.kind, one.parent and one.parent.span_id) for one in attempts] == 2 * [
        ("process reset", trace.SpanKind.CONSUMER, send.context.span_id)
    ]
    assert {one.context.trace_id for one in (send, *attempts)} == {request.get_span_context().trace_id}
    assert [link.context.span_id for one in attempts for link in one.links] == 2 * [send.context.span_id]
    names = ("outbox.delivery.state", "outbox.reply.enhanced", "error.type")
    assert {said(one, *names) for one in attempts} == {("failed", "5.1.1", "refused"), ("sent", "2.0.0", None)}
    assert {one.status.status_code for one in attempts} == {trace.StatusCode.ERROR, trace.StatusCode.UNSET}
    common = ("messaging.system", "messaging.destination.name", "messaging.message.id")
    assert len({said(one, *common) for one in (send, *attempts)}) == 1
    assert not [word for one in (send, *attempts) for word in SECRET if word in one.to_json()]


def test_many_share_the_span_of_their_call(
    mail: Outbox, spans: InMemorySpanExporter, sqlite_database: Database
) -> None:
    """A portion of a batch is one call; what can't be composed says so, in one word."""
    letters = [(str(n), Message("News", [f"reader{n}@example.net"], "Hello.")) for n in range(3)]
    mail.batch("news-7", kind="news").enqueue(letters, portion=2)
    with pytest.raises(MessageError):
        mail.enqueue(Message("News", ["not an address"], "Hello."))
    *sent, failed = spans.get_finished_spans()
    assert [said(one, "messaging.batch.message_count") for one in sent] == [(2,), (1,)]
    assert (said(failed, "error.type"), failed.status.description) == (("AddressError",), None)
    with sqlite_database.engine.connect() as connection:
        kept = connection.execute(sa.select(OutboxMessage.options).order_by(OutboxMessage.id)).scalars().all()
    ids = [one["trace"]["traceparent"].split("-")[2] for one in kept]
    assert ids == [f"{sent[0].context.span_id:016x}"] * 2 + [f"{sent[1].context.span_id:016x}"]


def test_spans_that_fail_stop_no_mail(
    mail: Outbox, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the worker: what became of the mail is recorded all the same."""
    mail.send(Message("News", ["ann@example.org"], "Hello."))
    commit(mail)
    monkeypatch.setattr(trace, "Link", None)
    with caplog.at_level("WARNING", "outbox.tracing"):
        assert [one.state for one in mailbox(mail).drain()] == ["sent"]
    assert "a span could not be written" in caplog.text


def test_nothing_without_a_provider(mail: Outbox, sqlite_database: Database) -> None:
    """Nothing is stored, and OpenTelemetry is not imported where the application does not."""
    mail.send(Message("News", ["ann@example.org"], "Hello."))
    commit(mail)
    with sqlite_database.engine.connect() as connection:
        assert connection.execute(sa.select(OutboxMessage.options)).scalar() is None
    code = "import sys, outbox, outbox.testing, outbox.worker.process; assert 'opentelemetry' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
