"""Mail that a real mail server returns: the event on its delivery, and what follows for the mail after it."""

from __future__ import annotations

import email
import email.policy
import shutil
import smtplib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.models import OutboxEvent, OutboxSuppression
from tests.servers.databases import Database
from tests.servers.exim import Exim
from tests.servers.postfix import postfix
from tests.servers.process import ServerUnavailable, polled
from tests.story.conftest import MakeStage
from tests.story.stage import ROOT, Stage, plain_environment
from tests.wire.server import Client, SmtpServer

pytestmark = pytest.mark.long

BACK = {"OUTBOX_SECRET_KEY": "secret", "OUTBOX_BOUNCE_DOMAIN": "bounces.example.org"}


def refuse(client: Client) -> str | None:
    return "550 5.1.1 no such user" if "<ann@" in client.line else None


@dataclass
class Relay:
    """A mail server, and what came back to it."""

    port: int
    back: Callable[[], list[Path]]
    log: Callable[[], str]


@contextmanager
def exim(to: int) -> Iterator[Relay]:
    try:
        with Exim(to) as server:
            yield Relay(server.port, server.back, server.log)
    except ServerUnavailable as reason:
        pytest.skip(str(reason))


@contextmanager
def a_postfix(to: int) -> Iterator[Relay]:
    kept = Path(tempfile.mkdtemp(prefix="outbox-kept-"))
    kept.chmod(0o777)
    (kept / "keep.sh").write_text(f"cat > {kept}/$$ && mv {kept}/$$ {kept}/$$.eml\n")
    settings = {"recipient_delimiter": "+", "transport_maps": "inline:{bounces.example.org=keep:}"}
    service = f"keep unix - n n - - pipe flags=DORq user=nobody argv=/bin/sh {kept}/keep.sh\n"
    try:
        with postfix(to, settings, service) as server:
            yield Relay(server.port, lambda: sorted(kept.glob("*.eml")), server.last_words)
    finally:
        shutil.rmtree(kept, ignore_errors=True)


@pytest.fixture(params=[a_postfix, exim], ids=["Postfix", "Exim"])
def relay(request: pytest.FixtureRequest) -> Iterator[tuple[SmtpServer, Relay]]:
    """The relay, and the server of the recipients, which does not know Ann."""
    with SmtpServer({"rcpt": refuse}) as server, request.param(server.port) as made:
        yield server, made


def send(stage: Stage, *recipients: str, **options: object) -> None:
    with stage.transaction() as session:
        stage.outbox.enqueue(Message("Hello", recipients=[*recipients], body="hello\n"), session, **options)
        session.commit()


def bounced(stage: Stage, mail: bytes) -> subprocess.CompletedProcess[bytes]:
    """`outbox-bounce`, as the pipe of a mail server runs it."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "tests.story.worker_app", "outbox-bounce"],
        cwd=ROOT,
        env=plain_environment() | stage.environ,
        input=mail,
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_what_a_mail_server_returns(
    sqlite_database: Database, make_stage: MakeStage, relay: tuple[SmtpServer, Relay]
) -> None:
    """Ann's delivery has bounced, Bob's has not; she gets no more mail, but a password reset is still tried."""
    server, made = relay
    stage = make_stage(sqlite_database, made.port, **BACK)
    send(stage, "ann@example.net", "bob@example.net")
    stage.fork()
    assert stage.settle() == {"sent": 2}
    with polled("the report comes back", 60) as wait_a_little:
        while not made.back():
            wait_a_little()
    (report,) = made.back()
    done = bounced(stage, report.read_bytes())
    assert done.returncode == 0, done.stderr
    ann = next(one for one in stage.deliveries() if one.recipient.startswith("ann"))
    with sqlite_database.engine.connect() as connection:
        (event,) = connection.execute(sa.select(OutboxEvent)).all()
        (suppressed,) = connection.execute(sa.select(OutboxSuppression)).all()
    assert (event.type, event.delivery_id, event.enhanced, event.proven) == ("bounced", ann.id, "5.1.1", True)
    assert (suppressed.address, suppressed.scope) == ("ann@example.net", "all")

    connections = server.connections
    send(stage, "ann@example.net")
    assert stage.settle() == {"sent": 2, "failed": 1}
    assert stage.deliveries()[-1].reason == "suppression"
    assert not [one for one in stage.attempts() if one.delivery_id == stage.deliveries()[-1].id and one.phase == "dot"]
    assert server.connections == connections
    stage.outbox.kind("reset", category="security")
    send(stage, "ann@example.net", kind="reset")
    assert stage.settle() == {"sent": 3, "failed": 1}


def test_who_unsubscribes_by_mail(sqlite_database: Database, make_stage: MakeStage) -> None:
    """A mail program writes to the address of List-Unsubscribe: what a real Postfix pipes from that unsubscribes."""
    leaving = {
        "OUTBOX_SECRET_KEY": "secret",
        "OUTBOX_UNSUBSCRIBE_URL": "https://shop.example/unsubscribe",
        "OUTBOX_UNSUBSCRIBE_MAILTO": "leave@bounces.example.org",
    }
    with SmtpServer() as reader, a_postfix(reader.port) as relay:
        stage = make_stage(sqlite_database, relay.port, **leaving)
        stage.outbox.kind("news", category="subscription")
        send(stage, "ann@example.net", kind="news")
        stage.fork()
        assert stage.settle() == {"sent": 1}
        (arrived,) = reader.wait_for(1)
        header = str(email.message_from_bytes(arrived.content, policy=email.policy.default)["List-Unsubscribe"])
        to, _, subject = header.partition("<mailto:")[2].partition(">")[0].partition("?subject=")
        asked = EmailMessage()
        asked["From"], asked["To"], asked["Subject"] = "Ann <ann@example.net>", to, unquote(subject)
        with smtplib.SMTP("127.0.0.1", relay.port) as mail_program:
            mail_program.send_message(asked)
        with polled("the mail is piped", 60) as wait_a_little:
            while not relay.back():
                wait_a_little()
        done = bounced(stage, relay.back()[0].read_bytes())
        assert done.returncode == 0, done.stderr
        with sqlite_database.engine.connect() as connection:
            (event,) = connection.execute(sa.select(OutboxEvent)).all()
            (suppressed,) = connection.execute(sa.select(OutboxSuppression)).all()
        assert (event.type, event.source, event.proven) == ("unsubscribed", "mail", True)
        assert (suppressed.address, suppressed.scope) == ("ann@example.net", "kind:news")
        send(stage, "ann@example.net", kind="news")
        assert stage.settle() == {"sent": 1, "failed": 1}
