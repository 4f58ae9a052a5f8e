"""The bare recording loop: the least that sending and writing it down costs. PostgreSQL alone.

    python -m benchmarks.recording DATABASE_URL PORT CA_FILE

One connection to the relay and one to the database, each kept: claim a hundred, send them one after the other with the
commands of a message in one write, record all hundred in one transaction, with the rows that a worker writes. No pause,
no verdicts, no deadlines, no bound on what a crash repeats: what a worker takes beyond it is the price of its promises.
"""

from __future__ import annotations

import smtplib
import ssl
import sys
from typing import Any

import psycopg

from benchmarks import apart

BATCH = 100

_CLAIM = f"""
WITH picked AS (
    SELECT id, recipient, message_id FROM outbox_delivery
    WHERE lane = %(lane)s AND state IN ('queued', 'sending') AND due_at <= now()
    ORDER BY due_at, id LIMIT {BATCH} FOR UPDATE SKIP LOCKED
), leased AS (
    UPDATE outbox_delivery d
    SET state = 'sending', token = %(token)s, due_at = now() + interval '300 s', updated_at = now()
    FROM picked WHERE d.id = picked.id
)
SELECT picked.id, picked.recipient, m.envelope_from, m.skeleton
FROM picked JOIN outbox_message m ON m.id = picked.message_id
"""

_RECORD = """
WITH held AS (
    UPDATE outbox_delivery d SET state = 'sent', token = NULL, due_at = NULL, attempts = d.attempts + 1, code = 250,
        reply = i.reply, updated_at = now(), finished_at = now()
    FROM unnest(%(ids)s::bigint[], %(replies)s::text[]) AS i (id, reply)
    WHERE d.id = i.id AND d.token = %(token)s RETURNING d.id, i.reply
)
INSERT INTO outbox_attempt (delivery_id, at, token, phase, verdict, code, reply, duration, counted, fenced)
SELECT id, now(), %(token)s, 'dot', 'accepted', 250, reply, 0, true, false FROM held
"""


def main() -> None:
    """Until nothing is due."""
    apart.keep_loop()
    url, port, ca_file = sys.argv[1].replace("postgresql+psycopg://", "postgresql://"), int(sys.argv[2]), sys.argv[3]
    with psycopg.connect(url, autocommit=True) as database, smtplib.SMTP("localhost", port) as relay:
        relay.starttls(context=ssl.create_default_context(cafile=ca_file))
        relay.ehlo()
        token, (lane,) = 0, database.execute("SELECT min(lane) FROM outbox_delivery").fetchone() or (0,)
        while rows := _claimed(database, token := token + 1, lane):
            replies = [_send(relay, row) for row in rows]
            told = {"token": token, "ids": [row[0] for row in rows], "replies": replies}
            database.execute(_RECORD, told)


def _claimed(database: psycopg.Connection[Any], token: int, lane: int) -> list[Any]:
    return database.execute(_CLAIM, {"token": token, "lane": lane}, binary=True).fetchall()


def _send(relay: smtplib.SMTP, row: Any) -> str:
    _, recipient, sender, content = row
    relay.send(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n")
    if [relay.getreply()[0] for _ in range(3)] != [250, 250, 354]:
        raise RuntimeError("refused")
    relay.send(content.removesuffix(b"\r\n").replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n")
    code, text = relay.getreply()
    if code != 250:
        raise RuntimeError(f"refused: {code}")
    return text.decode()


if __name__ == "__main__":
    main()
