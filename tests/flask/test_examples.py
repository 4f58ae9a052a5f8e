"""Each example runs: its requests in this process, its worker as a process of its own, to a real SMTP server."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask

from outbox import operations
from outbox.models import Base
from outbox.store.engines import worker_engine
from outbox.worker import process as daemon
from tests.conftest import required
from tests.flask.conftest import Committed
from tests.flask.pages import blocks
from tests.servers.brokers import BROKERS
from tests.servers.process import ServerUnavailable
from tests.wire.server import SmtpServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))

TESTS = {"WTF_CSRF_ENABLED": False, "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False}}  # no DNS here

pytestmark = pytest.mark.filterwarnings("ignore:'get_engine' is deprecated")  # in the env.py of Flask-Migrate

Start = Callable[..., Flask]


def load(name: str) -> ModuleType:
    """A fresh copy of the example, as `flask --app` loads it."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # the models of Flask-SQLAlchemy look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'example.sqlite'}"


@pytest.fixture
def start(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts an example on a database of the test's own."""
    apps: list[Flask] = []
    monkeypatch.setenv("DATABASE_URL", url)

    def start(name: str, **config: Any) -> Flask:
        app: Flask = load(name).create_app(TESTS | config)
        apps.append(app)
        return app

    yield start
    for app in apps:
        app.extensions["outbox"].database(app).dispose()
        with app.app_context():
            if "sqlalchemy" in app.extensions:
                for engine in app.extensions["sqlalchemy"].engines.values():
                    engine.dispose()
            elif (own := app.extensions["outbox"].application_database(app)) is not None:
                own.dispose()


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a real one."""
    try:
        server = BROKERS[request.param]()
    except ServerUnavailable as unavailable:
        if required(request.param):
            pytest.fail(f"{request.param} is required (OUTBOX_TEST_REQUIRE): {unavailable}", pytrace=False)
        pytest.skip(str(unavailable))
    yield server.url
    server.close()


@pytest.fixture
def served(start: Start, smtp: SmtpServer) -> Start:
    """The same, with the test's relay in its configuration."""
    relay = smtp.relay()
    return lambda name, **config: start(name, MAIL_SERVER=relay.host, MAIL_PORT=relay.port, **config)


def delivered(app: Flask, smtp: SmtpServer) -> list[EmailMessage]:
    """What arrives when a worker in this process has sent all there is: a second cheaper than a process of its own."""
    assert daemon.run(app, drain=True) == 0
    return [message_from_bytes(mail.content, policy=policy.default) for mail in smtp.messages]  # type: ignore[misc]


def enqueued(app: Flask) -> list[str]:
    """The subjects of the mail that was committed."""
    return Committed(app.extensions["outbox"].database(app)).subjects()


def drain(name: str, smtp: SmtpServer) -> list[EmailMessage]:
    """What arrives when the example's worker has sent all there is."""
    relay = smtp.relay()
    environ = {**os.environ, "MAIL_SERVER": relay.host, "MAIL_PORT": str(relay.port)}
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", str(EXAMPLES / f"{name}.py"), "outbox-sender", "--drain"],
        env=environ,
        check=True,
        timeout=60,
    )
    return [message_from_bytes(mail.content, policy=policy.default) for mail in smtp.messages]  # type: ignore[misc]


def test_all_examples_are_listed_and_tested() -> None:
    """The README names each example."""
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"({name}.py)" in readme for name in NAMES)


def test_flask_mail(start: Start, smtp: SmtpServer) -> None:
    """An application for Flask-Mail enqueues with another object in its place, and the worker sends."""
    client = start("flask_mail_app").test_client()
    assert "catalogue" in client.get("/").text
    assert client.post("/", data={"email": "ann@example.org"}).status_code == 200
    (mail,) = drain("flask_mail_app", smtp)
    assert (mail["Subject"], mail["From"]) == ("Our catalogue", "The shop <shop@example.org>")
    body, attachment = mail.iter_parts()
    assert body.get_content().strip() == "Here it is."
    assert attachment.get_filename() == "catalogue.txt"


@pytest.mark.parametrize("name", ["flask_sqlalchemy_app", "flask_sqlalchemy_lite_app"])
def test_flask_sqlalchemy(name: str, start: Start, smtp: SmtpServer) -> None:
    """Row and mail are one transaction: the second subscription is refused, and its mail does not exist."""
    app = start(name)
    client = app.test_client()
    assert client.get("/").status_code == 200
    assert client.post("/", data={"email": "ann@example.org"}).status_code == 200
    assert client.post("/", data={"email": "ann@example.org"}).status_code == 409
    assert enqueued(app) == ["Welcome"]
    (mail,) = drain(name, smtp)
    assert mail["To"] == "ann@example.org"


@pytest.mark.long
def test_flask_security(start: Start, smtp: SmtpServer) -> None:
    """Each mail of Flask-Security is enqueued and sent, those included after which it commits nothing."""
    app = start("flask_security_app")
    client = app.test_client()
    account = {"email": "ann@example.org", "password": "correct horse battery"}
    assert client.post("/register", data=account | {"password_confirm": account["password"]}).status_code == 302
    (welcome,) = drain("flask_security_app", smtp)
    assert client.get(link(welcome)).status_code == 302
    client.post("/logout")
    assert client.post("/reset", data={"email": account["email"]}).status_code == 200
    (_, reset) = drain("flask_security_app", smtp)
    password = {"password": "an entirely new one", "password_confirm": "an entirely new one"}
    assert client.post(link(reset), data=password).status_code == 302
    client.post("/logout")
    assert client.post("/login", data={"email": account["email"], "password": "an entirely new one"}).status_code == 302
    assert client.get("/").text == "Hello ann@example.org."
    assert len(enqueued(app)) == 3


@pytest.mark.parametrize(("policy", "sent"), [("warn", 0), ("auto", 1)])
def test_flask_security_without_the_setting(policy: str, sent: int, start: Start) -> None:
    """The mail of a reset, which Flask-Security does not commit, is committed by the default, and lost with "warn"."""
    app = start("flask_security_app", OUTBOX_UNCOMMITTED=policy, SECURITY_CONFIRMABLE=False)
    client = app.test_client()
    account = {"email": "ann@example.org", "password": "correct horse battery"}
    assert client.post("/register", data=account | {"password_confirm": account["password"]}).status_code == 302
    client.post("/logout")
    before = enqueued(app)
    assert len(before) == 1
    assert client.post("/reset", data={"email": account["email"]}).status_code == 200
    assert len(enqueued(app)) == 1 + sent


def test_flask_migrate(served: Start, smtp: SmtpServer, tmp_path: Path) -> None:
    """The steps of its first lines: the outbox's tables by a migration, and none of the next drops them."""
    app = served("flask_migrate_app")
    history = app.extensions["migrate"]
    history.directory = history.migrate.directory = str(tmp_path / "migrations")
    with app.app_context():
        flask_migrate.init()
        flask_migrate.migrate(message="Subscribers")
        flask_migrate.revision(message="Add the outbox")
        (made,) = (tmp_path / "migrations" / "versions").glob("*_add_the_outbox.py")
        text = made.read_text()
        for direction, call in (("upgrade", "upgrade(op, version=1)"), ("downgrade", "downgrade(op, version=0)")):
            text = re.sub(rf"(def {direction}\(\):.*?)pass", rf"\1outbox.schema.{call}", text, flags=re.DOTALL)
        made.write_text(f"import outbox.schema\n{text}")
        flask_migrate.upgrade()
    assert app.test_client().post("/", data={"email": "ann@example.org"}).status_code == 200
    with app.app_context():
        flask_migrate.migrate(message="Nothing")
    assert len(list(made.parent.glob("*.py"))) == 2
    (mail,) = delivered(app, smtp)
    assert mail["To"] == "ann@example.org"


def test_factory_with_flask_login(served: Start, smtp: SmtpServer) -> None:
    """The link that arrives lets in; the pages send away who is not logged in, and are closed to who is no admin."""
    app = served("factory_login_app")
    operations.create_tables(app.extensions["outbox"].database(app))
    client = app.test_client()
    assert client.post("/register", data={"email": "ann@example.org"}).status_code == 200
    assert client.get("/admin/outbox/").status_code == 401
    (mail,) = delivered(app, smtp)
    assert client.get(link(mail)).text == "Hello ann@example.org."
    assert client.get("/admin/outbox/").status_code == 403


def test_scoped_session(served: Start, smtp: SmtpServer) -> None:
    """Order and mail are one transaction of the request's own session."""
    app = served("scoped_session_app")
    assert app.test_client().post("/", data={"email": "ann@example.org"}).status_code == 200
    (mail,) = delivered(app, smtp)
    assert mail["Subject"] == "Order 1"


def test_second_bind(served: Start, smtp: SmtpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outbox is beside the orders; a refused order has no mail, though the visit is there."""
    monkeypatch.setenv("VISITS_URL", f"sqlite:///{tmp_path / 'visits.sqlite'}")
    monkeypatch.setitem(Base.metadata.info, "bind_key", "shop")  # as the example does; undone after this test
    app = served("second_bind_app")
    client = app.test_client()
    assert [client.post("/", data={"email": "ann@example.org"}).status_code for _ in range(2)] == [200, 409]
    with app.app_context():
        engines = app.extensions["sqlalchemy"].engines
        assert "outbox_message" in sa.inspect(engines["shop"]).get_table_names()
        assert sa.inspect(engines[None]).get_table_names() == ["visit"]
        with engines[None].connect() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM visit")).scalar() == 2
    assert len(delivered(app, smtp)) == 1


def test_async_views(served: Start, smtp: SmtpServer) -> None:
    """The ticket and its mail, by a view that awaits."""
    app = served("async_app")
    data = {"email": "ann@example.org", "text": "the site is down"}
    assert app.test_client().post("/", data=data).status_code == 200
    (mail,) = delivered(app, smtp)
    assert mail.get_content().strip() == "It is urgent."


def test_apiflask(served: Start, smtp: SmtpServer) -> None:
    """A refused address is a 422 with the field and the reason, and nothing is stored."""
    app = served("apiflask_app")
    client = app.test_client()
    assert client.post("/invitations", json={"email": "ann@example.org"}).status_code == 201
    refused = client.post("/invitations", json={"email": "ann@@example.org"})
    assert refused.status_code == 422
    assert refused.json is not None
    assert "ann@@example.org" in refused.json["detail"]["json"]["email"][0]
    assert client.post("/invitations", json={}).status_code == 422
    assert len(delivered(app, smtp)) == 1


def test_beside_flask_admin(served: Start, smtp: SmtpServer) -> None:
    """A customer made on its page gets mail; the outbox's own pages are in its menu."""
    app = served("flask_admin_app")
    client = app.test_client()
    assert 'href="/admin/outbox/"' in client.get("/admin/").text
    assert client.post("/admin/customer/new/", data={"email": "ann@example.org"}).status_code == 302
    assert "ann@example.org" in client.get("/admin/outbox/mail").text
    (mail,) = delivered(app, smtp)
    assert mail["Subject"] == "Your account"


def test_celery(served: Start, smtp: SmtpServer) -> None:
    """A task that runs twice, as after the death of its worker, sends once."""
    app = served("celery_app", CELERY={"task_always_eager": True, "task_eager_propagates": True})
    assert app.test_cli_runner().invoke(args=["init-db"]).exit_code == 0
    client = app.test_client()
    assert [client.post("/reports/7/ann@example.org").status_code for _ in range(2)] == [202, 202]
    (mail,) = delivered(app, smtp)
    assert mail["Subject"] == "Report 7"


@pytest.mark.long  # five processes, and RabbitMQ starts for seconds
@pytest.mark.timeout(300)
def test_celery_with_a_broker(broker: str, url: str, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Web server, Celery's worker and the outbox's, each a process: one mail for each report, however often ordered."""
    monkeypatch.setenv("BROKER_URL", broker)
    monkeypatch.setenv("DATABASE_URL", url)
    make_tables("examples.celery_app")
    web = "flask --app examples.celery_app run --port 0"
    worker = "celery -A examples.celery_worker worker --concurrency 1 --loglevel INFO"
    with saying(web) as served, saying(worker) as tasks:
        address = next(found[1] for line in served if (found := re.search(r"Running on (\S+)", line)))
        for number in (7, 7, 8):
            assert "by mail" in post(f"{address}/reports/{number}/ann@example.org", "")
        said: list[str] = []
        while tasks_ended(said).count("succeeded") < 3 and (line := tasks.readline()):
            said.append(line)
        assert tasks_ended(said) == ["succeeded"] * 3, "".join(said)
    assert sorted(mail["Subject"] for mail in drain("celery_app", smtp)) == ["Report 7", "Report 8"]


@pytest.mark.long  # as above
@pytest.mark.timeout(300)
def test_mail_by_celery(
    broker: str, url: str, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Celery's worker and beat are all there is: what was committed arrives, the refused subscription's mail does not.

    By the commands of docs/celery.md: on RabbitMQ those of the start, on Redis the worker with a queue of its own.
    """
    found = [block for block in blocks("celery.md") if block.reason == "run by tests/flask/test_examples.py"]
    typed = [words for block in found for words, _ in block.commands()]
    (plain, beat, queues), (routes,) = typed, [block for block in blocks("celery.md") if "task_routes" in block.text]
    with_queue = broker.startswith("redis")
    shop = "from examples.celery_mail_app import celery_app, flask_app\n" + (routes.text if with_queue else "")
    (tmp_path / "shop.py").write_text(shop)
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.setenv("OUTBOX_SWEEP_SECONDS", "1")
    monkeypatch.setenv("BROKER_URL", broker)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("MAIL_SERVER", smtp.relay().host)
    monkeypatch.setenv("MAIL_PORT", str(smtp.relay().port))
    make_tables("examples.celery_mail_app")
    web, worker = "flask --app shop run --port 0", f"{queues if with_queue else plain} --loglevel INFO"
    with saying(web, tmp_path) as served, saying(worker, tmp_path) as tasks, saying(beat, tmp_path):
        assert any("outbox.sweep" in line and "received" in line for line in tasks)
        address = next(found[1] for line in served if (found := re.search(r"Running on (\S+)", line)))
        assert "Thank you" in post(address, "ann@example.org")
        with pytest.raises(urllib.error.HTTPError):
            post(address, "ann@example.org")
        assert "Thank you" in post(address, "bob@example.org")
        assert len(list(itertools.islice((line for line in tasks if "status=sent" in line), 2))) == 2
    assert sorted(message_from_bytes(mail.content)["To"] for mail in smtp.messages) == [
        "ann@example.org",
        "bob@example.org",
    ]


def test_script(start: Start, smtp: SmtpServer) -> None:
    """Who is added later gets it, the others not twice; the worker is the command, in a process of its own."""
    app = start("script")
    operations.create_tables(app.extensions["outbox"].database(app))
    script = sys.modules["script"]
    assert script.main(["ann@example.org", "bob@example.org"]) == 2
    assert script.main(["ann@example.org", "bob@example.org", "eve@example.org"]) == 1
    recipients = sorted(mail["To"] for mail in drain("script", smtp))
    assert recipients == ["ann@example.org", "bob@example.org", "eve@example.org"]


def make_tables(name: str) -> None:
    """As the example says."""
    command = [sys.executable, "-m", "flask", "--app", name, "init-db"]
    subprocess.run(command, cwd=EXAMPLES.parent, check=True, timeout=60)


def tasks_ended(said: list[str]) -> list[str]:
    """How the tasks ended, by the lines of Celery's worker."""
    return re.findall(r"Task report\S+ (succeeded|raised)", "".join(said))


@contextmanager
def saying(command: str, folder: Path = EXAMPLES.parent) -> Iterator[IO[str]]:
    """Runs it as a process of its own; the lines of its log."""
    process = subprocess.Popen([sys.executable, "-m", *command.split()], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        yield process.stderr
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("options", ["--preload --workers 2", "--worker-class gevent --workers 1"])
def test_gunicorn(options: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of several processes, or of greenlets at once: all of their mail is there."""
    monkeypatch.setenv("DATABASE_URL", url)
    engine = worker_engine(url)
    operations.create_tables(engine)
    command = [sys.executable, "-m", "gunicorn", *options.split(), "--bind", "127.0.0.1:0", "examples.gunicorn_app:app"]
    process = subprocess.Popen(command, cwd=EXAMPLES.parent, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        listening = (re.search(r"Listening at: (\S+)", line) for line in process.stderr)
        address = next(found[1] for found in listening if found)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda n: post(address, f"r{n}@example.org"), range(8)))
        assert all(answer.startswith("Thank you") for answer in answers)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert len(Committed(engine).recipients()) == 8
    engine.dispose()


def post(address: str, email: str) -> str:
    """What a visitor's browser gets."""
    with urllib.request.urlopen(address, data=f"email={email}".encode(), timeout=30) as answer:
        return str(answer.read().decode())


def link(mail: EmailMessage) -> str:
    """The path of the link in a mail's text."""
    body = mail.get_body(("plain",))
    assert body is not None
    found = re.search(r"http://localhost(/\S+)", body.get_content())
    assert found is not None
    return found[1]
