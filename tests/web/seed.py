"""Varied mail in a database, without sending any: for looking at the pages, and for their tests.

python -m tests.web.seed sqlite:////tmp/look.sqlite3
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import LIVE, Lane, OnUncertain, State
from outbox.models import Base, OutboxAttempt, OutboxDelivery, OutboxMessage, OutboxWorker
from outbox.operations import Filter
from outbox.operations.pauses import What
from outbox.store import pauses as automatic
from tests.servers.databases import Database
from tests.servers.tables import create_tables

SCRIPT = "<script>document.title='owned'</script>"
HOSTILE_SUBJECT = f"{SCRIPT}\"'><img src=x onerror=alert(1)> & {{{{ 7 * 7 }}}}"
HOSTILE_REPLY = f"5.7.1 </p></textarea>{SCRIPT}<b onclick=alert(1)>rejected</b>"
HOSTILE_HTML = (
    "<h1 id='shown'>Hostile</h1><script>parent.document.title='owned'; document.body.id='ran'</script>"
    "<img src='x' onerror='alert(1)'><form action='/admin/outbox/act' method='post'><button>Click</button></form>"
    "<img src='https://tracker.example.net/pixel.gif'><a href='javascript:alert(1)' id='bad'>link</a>"
    "<link rel='stylesheet' href='https://tracker.example.net/a.css'><style>h1 { color: rgb(1, 2, 3) }</style>"
)
JAPANESE = "【重要】パスワード再設定のご案内"
LONG = "A subject that does not want to end because somebody pasted the whole first paragraph into it, " * 4
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000001400000014080200000002eb8a5a0000001a4944415478da6390f5df41366218d53caa7954"
    "f3a8e681d50c007ab6c85063312e5e0000000049454e44ae426082"
)  # 20 by 20 of one blue
LONG_ADDRESS = "a-very-long-local-part-that-somebody-chose.for.reasons@subdomain.of.a.long.domain.example.org"

NICE_HTML = """\
<!doctype html><html><body style="margin:0;background:#eef2f7;font-family:Helvetica,Arial,sans-serif">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr><td align="center" style="padding:28px">
<table role="presentation" width="480" cellpadding="0" cellspacing="0" style="background:#fff;border-radius:8px">
<tr><td style="padding:24px 32px;border-bottom:1px solid #e3e8ef"><img src="cid:logo" width="20" height="20" alt="">
<b style="font-size:18px;color:#1d4fb8">Flasky</b></td></tr>
<tr><td style="padding:24px 32px;font-size:15px;line-height:1.6;color:#222"><p>Dear Ann,</p>
<p>somebody asked to set a new password for your account. If it was you:</p>
<p><a href="https://flasky.example/auth/reset/" style="background:#1d4fb8;color:#fff;padding:10px 18px;
border-radius:6px;text-decoration:none">Set a new password</a></p>
<p style="color:#667">The link is good for an hour. If it was not you, do nothing.</p></td></tr></table>
</td></tr></table></body></html>"""


@dataclass
class Try:
    """One attempt to write."""

    phase: str
    verdict: str
    code: int | None
    enhanced: str | None
    reply: str
    ago: float = 60.0  # seconds
    duration: float = 0.412
    counted: bool = True
    note: str | None = None
    relay_id: str | None = None


REFUSED = Try("rcpt", "permanent", 550, "5.1.1", "The email account that you tried to reach does not exist.")
GREYLISTED = Try("rcpt", "transient", 450, "4.7.1", "Greylisted, please try again in 5 minutes", ago=400)
ACCEPTED = Try("dot", "accepted", 250, "2.0.0", "Ok: queued as 4Wq1Zk2bC7z", ago=50, relay_id="4Wq1Zk2bC7z")
LOST = Try("dot", "unknown", None, None, "connection lost while waiting for the reply to the final dot", duration=12.3)
DOWN = Try("connect", "transport", None, None, "Connection refused", ago=900, duration=0.002, counted=False)


@dataclass
class Mail:
    """One message to write, with the state of each recipient."""

    recipients: dict[str, State]
    subject: str = "Your order has been shipped"
    text: str = "Hello,\n\nyour order is on its way.\n"
    html: str | None = None
    kind: str | None = None
    lane: Lane = Lane.NORMAL
    tries: list[Try] = field(default_factory=list)
    reason: str | None = None
    ago: float = 3600.0  # seconds since it was enqueued
    attachments: list[tuple[str, str, bytes]] = field(default_factory=list)  # name, type, content
    logo: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    on_uncertain: OnUncertain = OnUncertain.RETRY
    redacted: bool = False
    sender: str = "flasky@example.com"


REFUSAL = "550 5.7.1 Sender address rejected: not owned by user flasky"
"""What the relay answers to the sender of `refuse_sender`."""


def write(connection: sa.Connection, mail: Mail, *, worker_id: int | None = None) -> list[int]:
    """Write one message with its deliveries and attempts; the deliveries' ids, in the order of its recipients."""
    now = datetime.now(UTC)
    source = _source(mail, now)
    message_pk = _insert(
        connection,
        OutboxMessage,
        message_id=str(source["Message-ID"]),
        environment="",
        kind=mail.kind,
        lane=mail.lane.rank,
        envelope_from=mail.sender,
        subject=mail.subject,
        headers=[[name, str(value)] for name, value in source.items()],
        skeleton=source.as_bytes(policy=SMTP),
        size=len(source.as_bytes(policy=SMTP)),
        smtputf8=False,
        on_uncertain=mail.on_uncertain.value,
        created_at=now - timedelta(seconds=mail.ago),
        redacted_at=now - timedelta(seconds=5) if mail.redacted else None,
    )
    return [_delivery(connection, message_pk, to, state, mail, worker_id, now) for to, state in mail.recipients.items()]


def worker(connection: sa.Connection, *, heartbeat_ago: float = 2.0, error: str | None = None) -> int:
    """Write a worker's row; its id."""
    now = datetime.now(UTC)
    transport = {
        "name": "smtp.example.com:587",
        "state": "open" if error else "closed",
        "since": (now - timedelta(minutes=4)).isoformat(timespec="seconds") if error else None,
        "error": error,
        "next_probe_seconds": 24.0 if error else None,
    }
    return _insert(
        connection,
        OutboxWorker,
        host="mail-1",
        pid=4711,
        version="0.1.0",
        environment="",
        connections=8,
        started_at=now - timedelta(hours=26),
        heartbeat_at=now - timedelta(seconds=heartbeat_ago),
        health={"transport": transport},
    )


def refuse_sender(connection: sa.Connection) -> None:
    """Have the worker pause a sender that the relay refuses."""
    automatic.refuse(
        connection,
        What.SENDER,
        "flasky@example.com",
        environment="",
        transport="smtp.example.com:587",
        reason="refused",
        reply=REFUSAL,
    )


def varied() -> list[Mail]:
    """Mail of each state and of many shapes; the hostile ones among them."""
    password = {
        "kind": "password-reset",
        "subject": "[Flasky] Set a new password",
        "text": "Dear Ann,\n\nto set a new password, open\nhttps://flasky.example/auth/reset/\n",
        "html": NICE_HTML,
        "logo": True,
    }
    return [
        *(
            Mail(
                {f"user{n}@gone.example.org": State.FAILED},
                tries=[replace(REFUSED, ago=60.0 + n * 90)],
                reason="refused",
                ago=7200 + n * 60,
                kind="newsletter",
                lane=Lane.BULK,
                subject="News from Flasky, November",
            )
            for n in range(37)
        ),
        *(
            Mail(
                {f"reader{n}@example.com": State.SENT},
                tries=[replace(ACCEPTED, ago=2500.0 - n * 40)],
                ago=3000 + n * 40,
                kind="newsletter",
                lane=Lane.BULK,
                subject="News from Flasky, November",
            )
            for n in range(60)
        ),
        Mail(
            {"old@example.org": State.FAILED}, subject="Your code is 123456", reason="expired", kind="code", ago=90000
        ),
        Mail(
            {"kaputt@example.net": State.FAILED},
            subject=HOSTILE_SUBJECT,
            html=HOSTILE_HTML,
            text=f"Text {SCRIPT}",
            reason="refused",
            ago=500,
            kind="<i>kind</i>",
            tries=[Try("data", "permanent", 554, "5.7.1", HOSTILE_REPLY, ago=300)],
        ),
        Mail(
            {"tanaka@example.jp": State.SENT},
            subject=JAPANESE,
            text="田中様\n\nパスワードを再設定するには、下のリンクを開いてください。\n",
            ago=600,
            tries=[ACCEPTED],
        ),
        Mail({"long@example.com": State.QUEUED}, subject=LONG, tries=[GREYLISTED], reason="deferred", ago=450),
        Mail(
            {LONG_ADDRESS: State.QUEUED},
            ago=30,
        ),
        Mail(
            {"invoice@example.com": State.UNCERTAIN},
            subject="Invoice 2026-1147",
            kind="invoice",
            on_uncertain=OnUncertain.HOLD,
            reason="unknown",
            tries=[LOST],
            attachments=[("Rechnung für Ann.pdf", "application/pdf", b"%PDF-1.7 " * 900)],
            ago=1500,
        ),
        Mail(
            {"bob@example.com": State.CANCELLED},
            subject="Welcome to Flasky",
            kind="welcome",
            reason="by-hand",
            ago=4000,
        ),
        Mail({"carol@example.com": State.SENDING}, subject="Confirm your account", kind="confirm", ago=4),
        Mail(
            {"to@example.com": State.SENT, "cc@example.com": State.SENT, "bcc@typo.example": State.FAILED},
            subject="Minutes of the meeting",
            tries=[
                DOWN,
                Try("rcpt", "permanent", 556, "5.1.10", "typo.example does not accept mail (nullMX)", ago=120),
            ],
            reason="refused",
            ago=1000,
        ),
        Mail({"dora@example.com": State.QUEUED}, ago=20, lane=Lane.HIGH, **password),
        Mail(
            {"ann@example.org": State.FAILED},
            reason="refused",
            ago=1000,
            tries=[DOWN, GREYLISTED, REFUSED],
            headers={"List-Unsubscribe": "<https://flasky.example/u/sEcReT>"},
            **password,
        ),
    ]


def seed(engine: sa.Engine, *, hostile: bool = True) -> dict[str, int]:
    """Write it all, or only what is fit for a picture; the delivery id of each recipient."""
    ids: dict[str, int] = {}
    with engine.begin() as connection:
        worker_id = worker(connection)
        for mail in varied():
            if not hostile and mail.subject in {HOSTILE_SUBJECT, JAPANESE, LONG}:
                continue
            ids |= dict(zip(mail.recipients, write(connection, mail, worker_id=worker_id), strict=True))
    return ids


def meddle_with(connection: sa.Connection, ids: dict[str, int]) -> None:
    """What people do on a bad day: a few changes of mail, two pauses."""
    chief, long = "chief@example.org", "their-provider-told-us.that-it-is-repaired@a-very-long-domain-name.example.org"
    ann, bob = Filter(ids=(ids["ann@example.org"],)), Filter(ids=(ids["bob@example.com"],))
    note = "She rang: the address was right, their server was not. They repaired it, and told us at length why and how."
    operations.requeue(connection, Filter(domain="gone.example.org", ids=_some(ids)), by=chief, note="a first try")
    operations.audit.write(connection, "cancel", by=long, count=1, delivery_ids=ann.ids, filters=str(ann))
    operations.audit.write(connection, "requeue", by=chief, count=1, delivery_ids=ann.ids, filters=str(ann), note=note)
    operations.correct_recipient(
        connection,
        ids["bob@example.com"],
        "bob@example.net",
        by=chief,
        sensitive_kinds=(),
        address_key=b"",
        note="mistyped",
    )
    operations.cancel(connection, bob, by=chief)
    operations.pauses.pause(connection, What.DOMAIN, "gone.example.org", by=chief, reason=note, seconds=4 * 3600)
    operations.pauses.pause(connection, What.KIND, "newsletter", by=long)


def _some(ids: dict[str, int]) -> tuple[int, ...]:
    return tuple(id for address, id in ids.items() if address.startswith("user1"))


class Template:
    """One seeded SQLite file, copied for each test: writing the mail anew takes a hundred times as long."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "seeded.sqlite3"
        engine = sa.create_engine(f"sqlite:///{self._file}")
        create_tables(engine)
        self.ids = seed(engine)
        engine.dispose()

    def copy(self, file: Path) -> Database:
        """A database of the test's own, whose worker has just been heard of."""
        shutil.copyfile(self._file, file)
        with contextlib.closing(sqlite3.connect(file)) as raw, raw:
            moment = (datetime.now(UTC) - timedelta(seconds=2)).strftime("%Y-%m-%d %H:%M:%S.%f")
            raw.execute("UPDATE outbox_worker SET heartbeat_at = ? WHERE stopped_at IS NULL", (moment,))
        return Database("sqlite", sa.make_url(f"sqlite:///{file}"), path=file)


def _source(mail: Mail, now: datetime) -> EmailMessage:
    message = EmailMessage()
    message["From"] = mail.sender
    message["To"] = next(iter(mail.recipients))
    message["Subject"] = mail.subject
    message["Date"] = now - timedelta(seconds=mail.ago)
    message["Message-ID"] = f"<{abs(hash((mail.subject, *mail.recipients)))}@example.com>"
    for name, value in mail.headers.items():
        message[name] = value
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
        if mail.logo:
            message.get_payload()[1].add_related(PNG, "image", "png", cid="<logo>")
    for name, kind, content in mail.attachments:
        main, _, sub = kind.partition("/")
        message.add_attachment(content, main, sub, filename=name)
    return message


def _delivery(
    connection: sa.Connection, message_pk: int, to: str, state: State, mail: Mail, worker_id: int | None, now: datetime
) -> int:
    tries = [] if state is State.SENT and mail.tries and mail.tries[-1].verdict != "accepted" else mail.tries
    last = tries[-1] if tries else None
    ended = None if state in LIVE else now - timedelta(seconds=last.ago if last else mail.ago)
    delivery_id = _insert(
        connection,
        OutboxDelivery,
        message_id=message_pk,
        recipient=to,
        domain=to.rpartition("@")[2],
        state=state.value,
        lane=mail.lane.slot(retry=state is State.QUEUED and bool(tries)),
        due_at=now + timedelta(seconds=200 if state is State.SENDING or tries else -5) if state in LIVE else None,
        attempts=sum(one.counted for one in tries),
        rescues=0,
        token=1 if state is State.SENDING else None,
        worker_id=worker_id if state is State.SENDING else None,
        code=last.code if last else None,
        enhanced=last.enhanced if last else None,
        reply=last.reply if last else None,
        reason=mail.reason if state is not State.SENT else None,
        updated_at=ended or now,
        finished_at=ended,
    )
    for one in tries:
        _insert(
            connection,
            OutboxAttempt,
            delivery_id=delivery_id,
            at=now - timedelta(seconds=one.ago),
            worker_id=worker_id,
            transport="smtp.example.com:587",
            phase=one.phase,
            verdict=one.verdict,
            code=one.code,
            enhanced=one.enhanced,
            reply=one.reply,
            relay_id=one.relay_id,
            duration=one.duration,
            counted=one.counted,
            fenced=False,
            note=one.note,
        )
    return delivery_id


def _insert(connection: sa.Connection, model: Any, **values: Any) -> int:
    result = connection.execute(sa.insert(model.__table__).values(**values))
    return int(result.inserted_primary_key[0])


if __name__ == "__main__":
    target = sa.create_engine(sys.argv[1])
    Base.metadata.create_all(target)
    print(f"{len(seed(target))} deliveries")
