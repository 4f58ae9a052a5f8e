"""Mail that a worker signs: verified by another implementation after a real hop, and the same to the byte each time."""

from __future__ import annotations

import base64
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from outbox import Message
from outbox.message.dkim.keys import ED25519, RSA, new_pem, read_key
from tests.servers.databases import Database
from tests.servers.dkimpy import dkim
from tests.servers.postfix import postfix
from tests.servers.ses_server import Says, SesServer
from tests.story.conftest import MakeStage
from tests.story.stage import Stage, until
from tests.wire import certificates
from tests.wire.actions import CLOSE, SILENCE, Take, turns
from tests.wire.server import SmtpServer

DOMAIN = "example.org"


class Keys:
    """Key files, and what the DNS has of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: dict[str, bytes] = {}

    def make(self, selector: str, algorithm: str = RSA) -> str:
        """The words for OUTBOX_DKIM_KEYS of a new one."""
        path = self._folder / f"{selector}.pem"
        path.touch(0o600)
        path.write_bytes(new_pem(algorithm))
        public = base64.b64encode(read_key(selector, path.read_bytes()).public)
        self._records[f"{selector}._domainkey.{DOMAIN}."] = b"v=DKIM1; k=%s; p=%s" % (algorithm.encode(), public)
        return f"{selector}={path}"

    def verify(self, content: bytes) -> dict[str, bool]:
        """By selector, whether its signature is right."""
        return {selector: self._verify(content, number) for number, selector in enumerate(selectors(content))}

    def _verify(self, content: bytes, number: int) -> bool:
        try:
            return bool(dkim.DKIM(content).verify(number, dnsfunc=lambda name, timeout=5: self._records[name.decode()]))
        except dkim.DKIMException:
            return False


def selectors(content: bytes) -> list[str]:
    """Of its signatures, in order."""
    head = content.partition(b"\r\n\r\n")[0]
    return [part.partition(b" s=")[2].partition(b";")[0].decode() for part in head.split(b"DKIM-Signature:")[1:]]


@pytest.fixture(name="keys")
def _keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def signing(*keys: str, **settings: str) -> dict[str, str]:
    """The settings of a transport that signs."""
    return {"OUTBOX_DKIM_DOMAIN": DOMAIN, "OUTBOX_DKIM_KEYS": " ".join(keys), **settings}


def send(stage: Stage, subject: str = "Hello", recipients: Sequence[str] = ("ann@example.net",), size: int = 0) -> None:
    """One message, with an attachment of that size."""
    with stage.transaction() as session:
        message = Message(subject, recipients=[*recipients], body=".\n..\nGruß  an \t\n alle \n\n\n", html="<p>ü</p>")
        if size:
            message.attach("a.bin", "application/octet-stream", bytes(range(256)) * (size // 256))
        stage.outbox.enqueue(message, session)
        session.commit()


def test_after_a_real_hop(sqlite_database: Database, make_stage: MakeStage, keys: Keys) -> None:
    """Both signatures are right behind a Postfix; a second From or Subject, or another word, breaks them."""
    with SmtpServer() as reader, postfix(reader.port) as hop:
        stage = make_stage(sqlite_database, hop.port, **signing(keys.make("june"), keys.make("june-ed", ED25519)))
        send(stage)
        send(stage, "Ein Gruß, der so lang ist, dass er in mehrere Zeilen gefaltet wird, und noch länger")
        send(stage, "big", size=1_000_000)
        send(stage, "to another world", ["jörg@example.net", "ann@example.net"])
        stage.fork()
        assert stage.settle() == {"sent": 5}
        until(lambda: len(reader.messages) == 5, "the hop passes all on")
    for mail in reader.messages:
        assert b"by hop.example.org (Postfix)" in mail.content
        assert keys.verify(mail.content) == {"june": True, "june-ed": True}
    one = reader.messages[0].content
    head, _, body = one.partition(b"\r\n\r\n")
    for added in (b"From: mallory@example.com", b"Subject: Win", b"List-Unsubscribe: <https://example.com/>"):
        for whole in (added + b"\r\n" + one, head + b"\r\n" + added + b"\r\n\r\n" + body):
            assert keys.verify(whole) == {"june": False, "june-ed": False}
    assert keys.verify(one.replace(b"alle", b"allen")) == {"june": False, "june-ed": False}


AGAIN = "451 4.3.0 try again"


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.once("postgresql")
def test_each_attempt_has_the_same_bytes(database: Database, make_stage: MakeStage, keys: Keys) -> None:
    """One that is deferred, one whose worker is killed, and a retry by a worker that has a newer key first."""
    old = keys.make("old")
    with SmtpServer({"dot": turns(Take(AGAIN), Take(SILENCE))}) as server:
        stage = make_stage(database, server.port, **signing(old))
        send(stage, size=300_000)
        first = stage.fork()
        until(lambda: len(server.messages) == 2, "two attempts")
        first.signal(signal.SIGKILL)
        first.wait(60)
        both = signing(keys.make("new"), old)
        stage.fork(ready=True, **both)
        send(stage, "since the new key")
        assert stage.settle() == {"sent": 2}
    assert [selectors(mail.content) for mail in server.messages].count(["old"]) == 3
    assert len({mail.content for mail in server.messages if selectors(mail.content) == ["old"]}) == 1
    assert [selectors(mail.content) for mail in server.messages if b"since" in mail.content] == [["new"]]
    assert all(all(keys.verify(mail.content).values()) for mail in server.messages)


def test_the_old_key_is_gone(sqlite_database: Database, make_stage: MakeStage, keys: Keys) -> None:
    """What it signed before is signed by the one that there is; a key that comes first again signs again."""
    old, new = keys.make("old"), keys.make("new")
    with SmtpServer({"dot": turns(Take(AGAIN), Take(AGAIN))}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_RETRY_FIRST_SECONDS="60", **signing(old))
        send(stage)
        stage.start("--once", ready=False).wait(60)
        stage.start("--once", ready=False, **signing(new)).wait(60)
        stage.command("outbox-send-now", "1", "--yes")
        stage.start("--once", ready=False, **signing(new)).wait(60)
        send(stage, "back")
        stage.start("--once", ready=False, **signing(old, new)).wait(60)
        send(stage, "back again")
        stage.start("--once", ready=False, **signing(old, new)).wait(60)
    assert [*map(selectors, (mail.content for mail in server.messages))] == [["old"], ["new"], ["new"], ["old"]]
    assert all(all(keys.verify(mail.content).values()) for mail in server.messages)


def test_each_transport_by_its_own(sqlite_database: Database, make_stage: MakeStage, keys: Keys) -> None:
    """One signs, the next one does not, Amazon's API gets signed bytes; what is refused by one goes to the next."""
    with SesServer() as ses, SmtpServer({"connect": CLOSE}) as own, SmtpServer() as plain:
        ses.script = [Says(503, "ServiceUnavailable")]
        stage = make_stage(
            sqlite_database,
            plain.port,
            OUTBOX_TRANSPORTS="ses plain",
            OUTBOX_TRANSPORT_SES_URL=ses.url,
            OUTBOX_TRANSPORT_SES_DKIM_DOMAIN=DOMAIN,
            OUTBOX_TRANSPORT_SES_DKIM_KEYS=keys.make("june"),
            OUTBOX_TRANSPORT_PLAIN_URL=f"smtp://127.0.0.1:{plain.port}",
            OUTBOX_TLS_CA_FILE=str(certificates.ca_file()),
        )
        send(stage)
        with stage.transaction() as session:
            message = Message("pinned", recipients=["bob@example.net"], body="x\n")
            stage.outbox.enqueue(message, session, transport="ses")
            session.commit()
        stage.fork()
        assert stage.settle() == {"sent": 2}
        assert own.messages == []
    assert all(keys.verify(one.content) == {"june": True} for one in ses.taken)
    assert any(b"pinned" in one.content for one in ses.taken)
    assert all(selectors(mail.content) == [] for mail in plain.messages)


def test_a_key_that_only_the_worker_misses(sqlite_database: Database, make_stage: MakeStage, keys: Keys) -> None:
    """It does not start, says which file, and nothing is sent without a signature."""
    key = keys.make("june")
    with SmtpServer() as server:
        stage = make_stage(sqlite_database, server.port, **signing(key))
        send(stage)
        Path(key.partition("=")[2]).unlink()
        worker = stage.start(ready=False)
        assert worker.wait(60) == 2
        assert "june.pem" in worker.log()
        assert server.messages == []
