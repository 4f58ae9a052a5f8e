"""Nobody can read what is stored of sensitive mail without a key: not in a dump, nor in the database's log."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.message.keyring import name_of, new_key, parse_key
from outbox.models import OutboxDelivery
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Stage, until
from tests.wire.server import Client, SmtpServer

ANN, BOB = "anneliese.kuvert@example.org", "bob@example.net"
TOKEN = "tok-4711-geheim"
PAPER = b"%PDF the paper of Anneliese " * 20_000  # a big part, stored beside the text
LONG = "A long letter about Anneliese. " * 8_000
SECRETS = (TOKEN, "kuvert", "Kuvert", "Anneliese", "anneliese")


def refuse_some(client: Client) -> str | None:
    """As relays do: with the address, and with what it does not like in the message."""
    failing = "-fail@" in (client.mail_from or "")
    return f"554 5.6.0 <{ANN}> refused: https://example.org/{TOKEN} is listed" if failing else None


@pytest.mark.quick("postgresql")
def test_a_dump_tells_nothing_of_sensitive_mail(database: Database, make_stage: MakeStage) -> None:
    """A hundred messages, sent, queued and failed, keys changed on the way: unreadable, sent as written, erased."""
    first, second = new_key(), new_key()
    with SmtpServer({"rcpt": refuse_some}) as server:
        keys = {"OUTBOX_ENCRYPTION_KEYS": first, "OUTBOX_SENSITIVE_KINDS": "reset", "OUTBOX_ADDRESS_KEY": "story"}
        stage = make_stage(database, server.port, **keys)
        send(stage, range(40))
        worker = stage.start(OUTBOX_ENCRYPTION_KEYS=f"{first} {second}")  # it knows the new key before it is used
        until(lambda: stage.states()["sent"] > 5, "some are sent")

        rotated = {"OUTBOX_ENCRYPTION_KEYS": f"{second} {first}"}
        stage.start(**rotated)
        send(stage, range(40, 60))
        done = stage.command("outbox-rotate-keys", "--yes", **rotated)
        assert done.returncode == 0, done.stderr + done.stdout
        until(lambda: stage.states()["sent"] + stage.states()["failed"] == 60, "all that is due has ended")
        assert stage.states() == {"sent": 54, "failed": 6}
        assert not set(server_words(server)) - {f"{TOKEN}-{n}" for n in range(60)}
        assert all(PAPER[:40] not in one.content for one in server.messages)  # as base64

        later = datetime.now(UTC) + timedelta(days=1)
        send(stage, range(60, 99), send_at=later)
        send(stage, [99], send_at=later, to=(BOB,))
        found = leaks(database)
        assert not found, found

        shown = stage.command("outbox-list", "--recipient", ANN, "--limit", "5", **rotated).stdout
        assert ANN in shown
        show_failed(stage, rotated)

        worker.signal(signal.SIGTERM)  # the last process that seals with the first key
        worker.wait(30)
        again = stage.command("outbox-rotate-keys", "--yes", **rotated)
        assert again.returncode == 0, again.stdout + again.stderr
        assert [name_of(parse_key(second))] == used(stage, rotated), stage.command("outbox-keys", **rotated).stdout
        rotated = {"OUTBOX_ENCRYPTION_KEYS": second}  # the first is destroyed

        erased = stage.command("outbox-erase", ANN, "--yes", **rotated)
        assert erased.returncode == 0, erased.stdout + erased.stderr
        assert stage.states() == {"sent": 54, "cancelled": 45, "queued": 1}
        stage.command("outbox-send-now", "--recipient", BOB, "--yes", **rotated)
        until(lambda: server.messages[-1].rcpt == BOB, "the mail to Bob")
        assert not leaks(database)
    for secret in (first, second):
        assert secret not in stage.logs()


def send(
    stage: Stage, numbers: Iterator[int] | range | list[int], to: tuple[str, ...] = (ANN,), **options: object
) -> None:
    """Messages with a token in subject and text, a shared attachment, and each tenth one that the relay refuses."""
    for number in numbers:
        with stage.transaction() as session:
            message = Message(
                f"Reset {TOKEN}-{number} for {to[0]}",
                recipients=[*to],
                body=f"Open https://example.org/{TOKEN}-{number}\n" + (LONG if number % 20 == 7 else ""),
                extra_headers={"X-Token": f"{TOKEN}-{number}"},
            )
            message.attach("paper.pdf", "application/pdf", PAPER)
            stage.outbox.enqueue(
                message,
                kind="reset",
                key=f"reset-{to[0]}-{number}",
                metadata={"user": to[0]},
                envelope_from=f"bounces+{to[0].replace('@', '=')}-{'fail' if number % 10 == 3 else 'ok'}@shop.example",
                tags={"who": "Anneliese"},
                **options,  # type: ignore[arg-type]
            )
            session.commit()


def server_words(server: SmtpServer) -> Iterator[str]:
    """The tokens that arrived."""
    for mail in server.messages:
        yield mail.content.partition(b"https://example.org/")[2].split(maxsplit=1)[0].decode()


def show_failed(stage: Stage, settings: dict[str, str]) -> None:
    """The reply of the relay can be read by those who have the key, and only those."""
    with stage.engine.connect() as connection:
        failed = sa.select(OutboxDelivery.id).where(OutboxDelivery.state == "failed")
        id = str(connection.execute(failed).scalars().first())
    assert f"<{ANN}> refused" in flat(stage.command("outbox-show", id, **settings))
    assert "which is not in OUTBOX_ENCRYPTION_KEYS" in flat(stage.command("outbox-show", id, OUTBOX_ENCRYPTION_KEYS=""))


def flat(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed, as one line."""
    return " ".join(f"{done.stdout} {done.stderr}".split())


def used(stage: Stage, settings: dict[str, str]) -> list[str]:
    """The keys that something is still sealed with."""
    done = stage.command("outbox-keys", **settings)
    return [line.split()[0] for line in done.stdout.splitlines() if line and line.split()[1:2] != ["unused"]]


def leaks(database: Database) -> list[str]:
    """Where in a dump, or in the files of the database, one of the secrets can be read."""
    return [f"{word} in {place}" for place, data in raw(database) for word in SECRETS if word.encode() in data]


def raw(database: Database) -> Iterator[tuple[str, bytes]]:
    """A dump, and the files with tables and logs as they are on the disk."""
    if database.path is not None:
        for file in database.path.parent.glob(f"{database.path.name}*"):
            yield file.name, file.read_bytes()
        return
    yield "dump", dump(database)
    with database.engine.connect() as connection:
        if database.name == "postgresql":
            connection.execute(sa.text("CHECKPOINT"))
    folder = getattr(database.server, "_data", None)
    for file in Path(folder).rglob("*") if folder else ():
        if file.is_file():
            yield str(file.relative_to(folder)), file.read_bytes()


def dump(database: Database) -> bytes:
    """As the database's own program makes it."""
    url = database.address
    host, port, user, name = url.host or "", str(url.port or ""), url.username or "", url.database or ""
    if database.name == "postgresql":
        program = str(getattr(database.server, "_bin", Path("/usr/bin")) / "pg_dump")
        command, secret = [program, "-h", host, "-p", port, "-U", user, name], {"PGPASSWORD": url.password or ""}
    else:
        program = shutil.which("mariadb-dump") or "mysqldump"
        command = [program, "-h", host, "-P", port, "-u", user, name, "--skip-ssl"]
        secret = {"MYSQL_PWD": url.password or ""}
    done = subprocess.run(command, capture_output=True, env={**os.environ, **secret}, check=True)
    assert b"outbox_delivery" in done.stdout
    return done.stdout


def test_a_missing_key_and_a_flipped_byte_stop_only_that_mail(sqlite_database: Database, make_stage: MakeStage) -> None:
    """A worker without the key says so at start and holds the mail; with the key all goes, but what was changed."""
    key = new_key()
    with SmtpServer() as server:
        keys = {"OUTBOX_ENCRYPTION_KEYS": key, "OUTBOX_SENSITIVE_KINDS": "reset"}
        stage = make_stage(sqlite_database, server.port, **keys)
        send(stage, range(5))
        flipped = "CAST(substr(skeleton, 1, 100) || x'00' || substr(skeleton, 102) AS BLOB)"
        with stage.engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE outbox_message SET skeleton = {flipped} WHERE id = 1"))
            connection.execute(sa.text("UPDATE outbox_message SET headers = '\"sealed:1:\"' WHERE id = 2"))
            connection.execute(sa.text("UPDATE outbox_delivery SET recipient = substr(recipient, 1, 60) WHERE id = 3"))
        checked = flat(stage.command("outbox-check", OUTBOX_ENCRYPTION_KEYS=""))
        name = name_of(parse_key(key))
        assert f"encrypted with the key {name}, which OUTBOX_ENCRYPTION_KEYS lacks" in checked
        other = stage.start(OUTBOX_ENCRYPTION_KEYS=new_key())
        until(lambda: [one.reason for one in stage.deliveries()] == ["key"] * 5, "all of it is held")
        assert f"mail is queued that is sealed with the key {name}, which is not in" in other.log()
        assert stage.states() == {"queued": 5}
        assert not server.messages
        other.signal(signal.SIGTERM)
        other.wait(30)

        stage.start()
        assert stage.command("outbox-send-now", "--reason", "key", "--yes").returncode == 0
        until(lambda: stage.settled(), "the rest has ended")
        told = {(one.state, one.reason) for one in stage.deliveries() if one.id in (1, 3)}
        assert told == {("failed", "damaged")}
        assert stage.states() == {"sent": 3, "failed": 2}
        assert "sealed, and changed since" in flat(stage.command("outbox-show", "1"))
    assert key not in stage.logs() + checked
    assert "Traceback" not in stage.logs()
