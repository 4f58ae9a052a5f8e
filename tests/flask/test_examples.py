"""Each example runs: its requests in this process, its worker as a process of its own, to a real SMTP server."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from tests.flask.conftest import Committed
from tests.wire.server import SmtpServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))

TESTS = {"WTF_CSRF_ENABLED": False, "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False}}  # no DNS here

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
        if "sqlalchemy" in app.extensions:
            with app.app_context():
                app.extensions["sqlalchemy"].engine.dispose()


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


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


def link(mail: EmailMessage) -> str:
    """The path of the link in a mail's text."""
    body = mail.get_body(("plain",))
    assert body is not None
    found = re.search(r"http://localhost(/\S+)", body.get_content())
    assert found is not None
    return found[1]
