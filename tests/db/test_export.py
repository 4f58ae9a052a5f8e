"""A person's mail is exported without the others who got it, the same on every database."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.message.digest import digest
from outbox.models import OutboxAttempt, OutboxAudit, OutboxEvent, OutboxMessage
from outbox.operations import person_files, suppressions
from outbox.operations.erase import erase
from outbox.operations.export_person import export
from outbox.operations.export_rows import Exported
from outbox.operations.unsubscribing import Lists
from outbox.store.posting import Posting
from outbox.store.types import DbNow
from tests.db.mails import put

KEY = b"a key"
ANN, BOB = "ann@example.org", "bob@example.org"
BLOB = b"shared" * 1000
TEXT = (
    b"From: shop@example.org\r\nTo: Ann <Ann@Example.org>,\r\n Bob <bob@example.org>\r\n"
    b"Cc: bob@example.org\r\nSubject: =?utf-8?q?F=C3=BCr_bob=40example=2Eorg?=\r\nX-For: <BOB@example.org>\r\n"
    b"\r\nWhat is agreed.\r\n"
)


def run(engine: sa.Engine, where: Path) -> Exported:
    lists = Lists(("news",), "", KEY)
    return export(engine, ANN, where, lists=lists, titles={"news": "The news"}, by="tester", note=f"{ANN} asked")


def shared(engine: sa.Engine) -> list[int]:
    """One message to Ann and Bob that says so in many places, sent; one to Ann, emptied; one to Bob that names her."""
    posting = Posting(address_key=KEY, key=f"for-{BOB}", metadata={"also": [BOB]})
    ids = put(engine, "Ann@Example.org", BOB, state=State.SENT, subject=f"Für {BOB}", posting=posting, blob=BLOB)
    headers = [["To", f"Ann <Ann@Example.org>, Bob <{BOB}>"], ["Cc", BOB], ["X-For", BOB]]
    more = {"message_id": "<2@x>", "posting": Posting(address_key=KEY)}
    [redacted] = put(engine, ANN, state=State.SENT, **more)
    put(engine, BOB, message_id="<3@x>", posting=Posting(address_key=KEY))
    size = len(TEXT) - len(b"Subject: x\r\n\r\nbody\r\n")
    with engine.begin() as connection:
        text = {"headers": headers, "skeleton": TEXT, "size": OutboxMessage.size + size}
        of = {number: OutboxMessage.message_id == f"<{number}@x>" for number in (2, 3)}
        connection.execute(sa.update(OutboxMessage).where(OutboxMessage.key.is_not(None)).values(text))
        connection.execute(sa.text("UPDATE outbox_message_blob SET skeleton_offset = :at"), {"at": len(TEXT)})
        connection.execute(sa.update(OutboxMessage).where(of[2]).values(redacted_at=DbNow(), skeleton=b""))
        about = [["To", BOB], ["Reply-To", ANN]]
        text = b"To: bob@example.org\r\nReply-To: ann@example.org\r\n\r\nAnn wrote.\r\n"
        connection.execute(sa.update(OutboxMessage).where(of[3]).values(headers=about, skeleton=text, size=len(text)))
        attempt = {"delivery_id": ids[0], "phase": "data", "verdict": "accepted", "duration": 0.1, "at": DbNow()}
        attempt |= {"reply": f"for {BOB} and {ANN}", "counted": True, "fenced": False, "note": None}
        connection.execute(sa.insert(OutboxAttempt).values(attempt))
        event = {"type": "bounced", "source": "report", "recipient": ANN, "at": DbNow(), "recorded_at": DbNow()}
        for name, tied in (("1", {"delivery_id": ids[0]}), ("2", {})):
            connection.execute(sa.insert(OutboxEvent).values(**event, **tied, event_id=name, digest=digest(ANN, KEY)))
        suppressions.suppress(connection, ANN, "kind:news", by="tester", address_key=KEY, note="by phone")
        operations.note_look(connection, redacted, "body", by="tester")
    return [ids[0], redacted]


def table(where: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((where / f"{name}.json").read_text())
    assert len((where / f"{name}.csv").read_text().splitlines()) == len(rows) + 1
    return rows


def test_what_is_exported(engine: sa.Engine, tmp_path: Path) -> None:
    """Her mail with its attachment, its attempts, events, suppressions and history; nothing of Bob; private files."""
    both, redacted = shared(engine)
    done = run(engine, tmp_path / "to")
    where = tmp_path / "to"
    assert (done.messages, done.about, done.is_nothing) == (1, 1, False)
    mail = message_from_bytes((where / f"messages/{both}.eml").read_bytes(), policy=policy.default)
    assert [str(mail[name]) for name in ("To", "Cc", "Subject", "X-For")] == [
        "Ann <Ann@Example.org>, Other recipients:;",
        "Other recipients:;",
        "Für [another recipient]",
        "<[another recipient]>",
    ]
    files = [path for path in where.rglob("*") if path.is_file()]
    assert not [path for path in files if b"bob" in path.read_bytes().lower()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in where.rglob("*") if path.is_dir()} == {0o700}
    of = {row["delivery"]: row for row in table(where, "deliveries")}
    assert [of[id]["text"] for id in (both, redacted)] == ["in the file", "redacted"]
    assert (of[both]["subject"], of[both]["key"]) == ("Für [another recipient]", "for-[another recipient]")
    assert table(where, "attempts")[0]["reply"] == f"for [another recipient] and {ANN}"
    assert [row["delivery"] for row in table(where, "events")] == [both, None]
    assert [(row["scope"], row["note"]) for row in table(where, "suppressions")] == [("kind:news", "by phone")]
    assert [(row["title"], row["held_by"]) for row in table(where, "subscriptions")] == [("The news", "manual")]
    assert [row["named_in"] for row in table(where, "about")] == ["Reply-To"]
    assert [(row["delivery"], row["action"]) for row in table(where, "history")] == [(redacted, "read")]
    with engine.connect() as connection:
        [*_, trail] = connection.execute(sa.select(OutboxAudit).order_by(OutboxAudit.id)).all()
    hashed = digest(ANN, KEY)
    assert (trail.action, trail.count, trail.filters) == ("export", 2, f"address {hashed}")
    assert trail.note == f"{hashed} asked"


def test_after_an_erasure(engine: sa.Engine, tmp_path: Path) -> None:
    """What is left of her is found by the digest: envelopes without an address, and the suppression."""
    shared(engine)
    erase(engine, ANN, address_key=KEY, by="tester")
    done = run(engine, tmp_path / "to")
    assert (done.messages, done.rows["deliveries"], done.rows["suppressions"]) == (0, 2, 1)
    kept = [path for path in (tmp_path / "to").rglob("*.json") if ANN in path.read_text().lower()]
    assert kept == []


def test_zip(engine: sa.Engine, tmp_path: Path) -> None:
    """The same files, in one that only its owner may read; a file that is there is not overwritten."""
    run(engine, tmp_path / "to")
    before = os.umask(0)
    try:
        person_files.zipped(tmp_path / "to", tmp_path / "to.zip")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "to.zip").stat().st_mode) == 0o600
    assert "deliveries.csv" in zipfile.ZipFile(tmp_path / "to.zip").namelist()
    with pytest.raises(FileExistsError):
        person_files.zipped(tmp_path / "to", tmp_path / "to.zip")
