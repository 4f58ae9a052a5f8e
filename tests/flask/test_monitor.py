"""Health and metrics, of a worker on its own port and of a web process by the blueprint."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from outbox.delivery.rate_limits import parse
from outbox.models import Base
from outbox.monitoring import prometheus
from outbox.store.connections import Connections
from outbox.store.rates import TRANSPORT, Rates
from outbox.web import health_blueprint
from outbox.worker import process
from outbox.worker.process import Worker
from tests.db.mails import put, worker
from tests.story.stage import until
from tests.wire.server import SmtpServer


def get(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[str, list[Sample]]:
    """The samples of each family, parsed as Prometheus would."""
    return {family.name: family.samples for family in text_string_to_metric_families(text)}


def value(text: str, name: str, /, **labels: str) -> float:
    """Of the one sample with these labels."""
    (found,) = [
        sample.value
        for family in samples(text).values()
        for sample in family
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return found


def lint(text: str) -> Iterator[str]:
    """What `promtool check metrics` finds fault with: help, units, suffixes, label names."""
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        if not family.documentation:
            yield f"{name}: no help text"
        if not re.fullmatch(r"outbox_[a-z][a-z_]*", name):
            yield f"{name}: not in snake case"
        if re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|percent|gauge|counter|histogram)(_|$)", name):
            yield f"{name}: no base unit, or its type in the name"
        if family.type != "counter" and name.endswith("_total"):
            yield f"{name}: _total without being a counter"
        if family.type not in ("histogram", "summary") and re.search(r"_(count|sum|bucket)$", name):
            yield f"{name}: ends like a part of a histogram"
        for sample in family.samples:
            if family.type != "histogram" and "le" in sample.labels:
                yield f"{name}: label le"
            if not all(re.fullmatch(r"[a-z][a-z_]*", label) for label in sample.labels):
                yield f"{name}: label not in snake case"


@contextlib.contextmanager
def working(app: Flask) -> Iterator[tuple[Worker, str]]:
    """A worker in a thread, and where it answers."""
    with app.app_context():
        made = Worker(app)
    codes: list[int] = []

    def run() -> None:
        with app.app_context():
            codes.append(made.run(once=False, drain=False, progress=None))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        port = until(lambda: made._monitor and made._monitor.port, "the worker listens")
        yield made, f"http://127.0.0.1:{port}"
    finally:
        made._stop.set()
        thread.join(20)
    assert codes == [0]


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def worker_app(make_app: Callable[..., Flask], server: SmtpServer) -> Flask:
    return make_app(
        MAIL_SUPPRESS_SEND=False,
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=server.port,
        OUTBOX_METRICS_PORT=0,
        OUTBOX_POLL_SECONDS=0.1,
        OUTBOX_CONNECTIONS=2,
    )


def test_a_worker_tells_what_it_did(worker_app: Flask, engine: sa.Engine, server: SmtpServer) -> None:
    """Counted, timed, and in a form that Prometheus and its linter accept."""
    server.script["rcpt"] = lambda client: "550 5.1.1 no" if "bad" in client.line else None
    for number in range(3):
        put(engine, message_id=f"<{number}@example.org>")
    put(engine, "bad@example.org")
    with working(worker_app) as (made, url):
        until(lambda: sum(made._meters.outcomes.values()) == 4, "all is recorded")  # type: ignore[union-attr]
        status, text = get(f"{url}/metrics")
    assert status == 200
    assert list(lint(text)) == []
    assert value(text, "outbox_deliveries_total", verdict="accepted", code_class="2xx") == 3
    assert value(text, "outbox_deliveries_total", verdict="permanent", code_class="5xx") == 1
    assert value(text, "outbox_outcomes_total", outcome="sent") == 3
    assert value(text, "outbox_send_duration_seconds_count") == 4
    assert value(text, "outbox_commit_to_accepted_seconds_count") == 3
    assert value(text, "outbox_commit_to_accepted_seconds_bucket", le="60.0") == 3
    assert value(text, "outbox_claim_duration_seconds_count") >= 1
    assert value(text, "outbox_breaker_open", transport=f"127.0.0.1:{server.port}") == 0
    assert value(text, "outbox_heartbeat_age_seconds") < 10
    assert value(text, "outbox_database_up") == 1
    assert value(text, "outbox_workers") == 1
    names = {family.name + ("_total" if family.type == "counter" else "") for family in _families(text)}
    assert names == prometheus.HELP.keys()
    assert "example.org" not in text


def _families(text: str) -> list[object]:
    return list(text_string_to_metric_families(text))


def test_a_worker_is_live_and_ready_until_its_database_is_not(worker_app: Flask, engine: sa.Engine) -> None:
    """Each path says so in its status; any other path says which there are."""
    with working(worker_app) as (_, url):
        assert get(f"{url}/healthz") == (200, "ok\n")
        assert get(f"{url}/readyz") == (200, "ok\n")
        assert get(f"{url}/elsewhere")[0] == 404
        Base.metadata.tables["outbox_message_blob"].drop(engine)
        until(lambda: get(f"{url}/readyz") == (503, "the database is not migrated\n"), "it is not ready")
        assert get(f"{url}/healthz")[0] == 200


def test_a_worker_whose_thread_died_is_not_live(worker_app: Flask) -> None:
    """So that an orchestrator starts it anew."""
    with working(worker_app) as (made, url):
        told = made._illness
        made._illness = lambda pool: "a thread of the worker has died"  # type: ignore[method-assign]
        assert get(f"{url}/healthz") == (503, "a thread of the worker has died\n")
        made._illness = told  # type: ignore[method-assign]


def test_a_port_that_is_taken_is_tried_again(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture, server: SmtpServer
) -> None:
    """The worker before may still hold it; mail goes on meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        app = make_app(OUTBOX_METRICS_PORT=port, OUTBOX_POLL_SECONDS=0.1, OUTBOX_HEARTBEAT_SECONDS=0.1)
        with app.app_context():
            made = Worker(app)
        thread = threading.Thread(target=lambda: _run(app, made))
        thread.start()
        until(lambda: "can't be served" in caplog.text, "it complains")
    until(lambda: made._monitor and made._monitor.port == port, "it listens at last")
    made._stop.set()
    thread.join(20)
    assert caplog.text.count("can't be served") == 1


def _run(app: Flask, made: Worker) -> None:
    with app.app_context():
        made.run(once=False, drain=False, progress=None)


def test_by_default_a_worker_listens_nowhere(make_app: Callable[..., Flask]) -> None:
    """Closed unless OUTBOX_METRICS_PORT is set."""
    app = make_app()
    with app.app_context():
        made = Worker(app)
    assert made.run(once=True, drain=False, progress=None) == 0
    assert made._monitor is None


def test_without_the_extra_metrics_say_what_to_install(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health does without it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    app = make_app()
    app.register_blueprint(health_blueprint(may_view=lambda: True))
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 501
    assert "pip install prometheus-client" in answer.text
    assert app.test_client().get("/readyz").status_code == 200


class TestBlueprint:
    """`health_blueprint`."""

    def test_health_is_open_and_metrics_are_closed(self, make_app: Callable[..., Flask]) -> None:
        """Orchestrators can't log in, and learn nothing that others may not."""
        app = make_app()
        app.register_blueprint(health_blueprint(), url_prefix="/outbox")
        client = app.test_client()
        assert (client.get("/outbox/healthz").text, client.get("/outbox/readyz").text) == ("ok\n", "ok\n")
        assert client.get("/outbox/metrics").status_code == 403

    def test_metrics_open_to_the_token_or_to_whom_the_application_lets(self, make_app: Callable[..., Flask]) -> None:
        """A wrong token, or none, is refused."""
        app = make_app()
        app.register_blueprint(health_blueprint(token="s3cret", may_view=lambda: False))
        app.register_blueprint(health_blueprint(may_view=lambda: True, name="mine"), url_prefix="/mine")
        client = app.test_client()
        assert client.get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200
        for header in ("Bearer s3cre", "Bearer ", "s3cret", "Bearer gr\xfc\xdfe"):
            assert client.get("/metrics", headers={"Authorization": header}).status_code == 403
        assert client.get("/mine/metrics").status_code == 200

    def test_an_empty_token_is_an_error(self) -> None:
        """It is a variable that was not set."""
        with pytest.raises(ValueError, match="would let everybody in"):
            health_blueprint(token="")

    def test_it_tells_what_the_database_knows(self, make_app: Callable[..., Flask], engine: sa.Engine) -> None:
        """Depth, age, workers, their relays: what Prometheus and its linter accept."""
        put(engine, ago=100)
        Rates(engine, Connections(engine), "").reserve(TRANSPORT, "mail", parse("100/s, 50/d"), 50)
        worker(engine, heartbeat=5, health={"transport": {"name": 'mail"\n:25', "state": "open"}})
        app = make_app()
        app.register_blueprint(health_blueprint(may_view=lambda: True))
        text = app.test_client().get("/metrics").text
        assert list(lint(text)) == []
        assert value(text, "outbox_queue_depth", state="queued", lane="normal") == 1
        assert value(text, "outbox_oldest_due_age_seconds", lane="normal") == pytest.approx(100, abs=20)
        assert value(text, "outbox_worker_heartbeat_age_seconds", pid="4711") == pytest.approx(5, abs=20)
        assert value(text, "outbox_transport_workers", state="down") == 1
        assert value(text, "outbox_rate_limit", of="transport", name="mail", window="day") == 50
        assert value(text, "outbox_rate_used_last_day", of="transport", name="mail") == 50
        assert value(text, "outbox_rate_held_until_timestamp_seconds", of="transport", name="mail") > time.time()

    def test_the_database_is_read_once_in_some_seconds(self, make_app: Callable[..., Flask], engine: sa.Engine) -> None:
        """However often it is asked."""
        app = make_app()
        app.register_blueprint(health_blueprint(may_view=lambda: True))
        client = app.test_client()
        before = client.get("/metrics").text
        put(engine)
        assert client.get("/metrics").text == before

    def test_without_tables_it_is_not_ready_and_says_that_the_database_is_down(
        self, make_app: Callable[..., Flask], engine: sa.Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The page tells nobody where the database is; the log has the details."""
        Base.metadata.drop_all(engine)
        app = make_app()
        app.register_blueprint(health_blueprint(may_view=lambda: True))
        client = app.test_client()
        answer = client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "the database is not migrated\n")
        assert value(client.get("/metrics").text, "outbox_database_up") == 0
        assert "alembic upgrade head" in caplog.text


def test_a_worker_that_only_drains_is_monitored_too(worker_app: Flask, engine: sa.Engine) -> None:
    """It ends as usual."""
    put(engine)
    assert process.run(worker_app, drain=True) == 0
