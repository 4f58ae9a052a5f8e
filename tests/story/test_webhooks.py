"""Webhooks at a real server with four processes: each event counts once, and a body without end is not read."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.models import OutboxEvent
from tests.flask.webhooks import payloads as of
from tests.flask.webhooks.signers import SIGN, Request, settings
from tests.servers.databases import Database
from tests.servers.sns_server import TOPIC, SnsServer
from tests.story.conftest import MakeStage
from tests.story.served import Served
from tests.story.stage import Relay, until

TIMES, PROCESSES = 10, 4


def post(port: int, provider: str, request: Request) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", f"/hooks/{provider}", request.body, dict(request.headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def taken(port: int, provider: str, request: Request) -> tuple[int, str] | None:
    """None: it is to be sent again, as where the certificate is not there within the second."""
    answer = post(port, provider, request)
    return None if answer[0] == 503 else answer


@pytest.mark.long
@pytest.mark.databases("postgresql")
def test_the_same_event_at_once_in_four_processes(database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """Ten times, by each provider: one row for each event, and every request is told that it was taken."""
    with SnsServer() as sns:
        stage = make_stage(database, relay.port)
        environ = {
            **settings(),
            "OUTBOX_SES_TOPICS": TOPIC,
            **sns.environ,
            "NO_PROXY": "127.0.0.1",
            "OUTBOX_IN_PROCESS": "",
        }
        requests = {
            "ses": (Request(sns.message(of.SES_BOUNCE_WITHOUT_DSN)), 2),
            "sendgrid": (SIGN["sendgrid"](of.SENDGRID), 7),
            "mailgun": (SIGN["mailgun"](of.MAILGUN_BOUNCED), 1),
            "postmark": (SIGN["postmark"](of.POSTMARK_BOUNCE), 1),
            "mailjet": (SIGN["mailjet"]([of.MAILJET_SENT, of.MAILJET_SPAM]), 2),
            "brevo": (SIGN["brevo"](of.BREVO_HARD), 1),
            "resend": (SIGN["resend"](of.RESEND_BOUNCED), 1),
        }
        with Served(stage, "gunicorn --preload", "--workers", str(PROCESSES), **environ).ready() as server:
            for provider, (request, events) in requests.items():
                together = threading.Barrier(TIMES)

                def go(
                    provider: str = provider, request: Request = request, together: threading.Barrier = together
                ) -> tuple[int, str]:
                    together.wait(30)
                    return until(lambda: taken(server.port, provider, request), "it is taken")  # type: ignore[no-any-return]

                with ThreadPoolExecutor(TIMES) as pool:
                    answers = [done.result() for done in [pool.submit(go) for _ in range(TIMES)]]
                assert {status for status, _ in answers} == {200}, server.log()
                recorded = [int(text.split()[1]) for _, text in answers]
                assert sum(recorded) == events, (provider, answers)
            assert len(server.family()) == PROCESSES + 1
            written, status = _endless(server.port)
            assert (written < 2**25, status in {413, None}) == (True, True)
        with Session(stage.engine) as session:
            kept = Counter(session.scalars(sa.select(OutboxEvent.source)))
        assert kept == {provider: events for provider, (_, events) in requests.items()}
        fetched = [line for line in sns.requests if line.startswith("GET ")]
        assert 1 <= len(fetched) <= PROCESSES


def _endless(port: int) -> tuple[int, int | None]:
    """A body in chunks that does not end: how many bytes go out before the server hangs up, and what it answers."""
    written = 0

    def chunks() -> Iterator[bytes]:
        nonlocal written
        for _ in range(1024):
            yield b" " * 65_536
            written += 65_536

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = dict(SIGN["postmark"](b"").headers)
    try:
        with contextlib.suppress(OSError):  # it hangs up while we still write
            connection.request("POST", "/hooks/postmark", chunks(), headers, encode_chunked=True)
        return written, connection.getresponse().status
    except (OSError, http.client.HTTPException):  # its answer was lost with the connection
        return written, None
    finally:
        connection.close()
