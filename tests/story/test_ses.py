"""Mail by Amazon SES's API: what a worker promises for SMTP holds there as well."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.models import OutboxMessage
from tests.servers.databases import Database
from tests.servers.ses_server import HANG, KEY_ID, SECRET, Cuts, Says, SesServer
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, until
from tests.wire import certificates


@pytest.fixture
def ses() -> Iterator[SesServer]:
    with SesServer() as server:
        yield server


def by_ses(ses: SesServer, **settings: str) -> dict[str, str]:
    """The settings of this one, or with `second` of another, which is preferred less."""
    return {
        "OUTBOX_TRANSPORTS": "ses",
        "OUTBOX_TRANSPORT_SES_URL": ses.url,
        "OUTBOX_TLS_CA_FILE": str(certificates.ca_file()),
        "OUTBOX_CONNECTIONS": "2",
        **settings,
    }


def beside(ses: SesServer, second: Relay) -> dict[str, str]:
    """By SES, or else by a relay."""
    url = f"smtp://127.0.0.1:{second.port}"
    return by_ses(ses, OUTBOX_TRANSPORTS="ses second", OUTBOX_TRANSPORT_SECOND_URL=url)


def copies(ses: SesServer) -> Counter[tuple[str, ...]]:
    """How often each recipient's message was taken."""
    return Counter(one.to for one in ses.taken)


@pytest.mark.long
def test_a_worker_that_is_killed_in_mid_request(database: Database, ses: SesServer, make_stage: MakeStage) -> None:
    """SES has both messages and the worker is gone: one is sent again, the one that is to be held never."""
    stage = make_stage(database, 9, **by_ses(ses))
    stage.send()
    worker = stage.start()
    stage.settle()
    ses.every = HANG
    with stage.transaction() as session:
        for name, policy in (("again", "retry"), ("held", "hold")):
            _enqueue(stage, f"{name}@example.org", on_uncertain=policy)
        session.commit()
    until(lambda: len(ses.taken) == 3, "both are in mid request")
    worker.signal(signal.SIGKILL)
    worker.wait(30)
    ses.every = None
    ses.resume.set()
    stage.start()
    stage.settle()
    assert stage.states() == {"sent": 2, "uncertain": 1}
    assert copies(ses) == {("r0@example.org",): 1, ("again@example.org",): 2, ("held@example.org",): 1}
    assert len({one.content for one in ses.taken if one.to == ("again@example.org",)}) == 1, "the bytes stay"
    attempt = stage.attempts()[0]
    assert (attempt.transport, attempt.code) == ("ses", 200)
    assert (attempt.relay_id or "").startswith("0102-")
    assert SECRET not in stage.logs()


def test_what_ses_cannot_carry_goes_by_the_next(
    sqlite_database: Database, ses: SesServer, relay: Relay, make_stage: MakeStage
) -> None:
    """A service that is down moves mail on; an answer that was lost does not; a refused recipient fails."""
    stage = make_stage(sqlite_database, 9, **beside(ses, relay))
    ses.script = [Cuts("body", takes=True)]
    with stage.transaction() as session:
        _enqueue(stage, "cut@example.org")
        session.commit()
    stage.start()
    until(lambda: copies(ses)["cut@example.org",] == 2, "it is sent again by SES")
    ses.script = [Says(400, "BadRequestException", "Missing final '@domain'")]
    with stage.transaction() as session:
        _enqueue(stage, "nobody@example.org")
        session.commit()
    stage.settle()
    assert stage.states() == {"sent": 1, "failed": 1}
    assert not relay.taken()
    ses.every = Says(503, "ServiceUnavailable", "x")
    stage.send(5)
    stage.settle()
    assert len(relay.taken()) == 5


def test_a_throttle_waits_as_told_and_counts_nothing(
    sqlite_database: Database, ses: SesServer, make_stage: MakeStage
) -> None:
    words = "Maximum sending rate exceeded."
    ses.script = [Says(429, "TooManyRequestsException", words, {"Retry-After": "1"})] * 2
    stage = make_stage(sqlite_database, 9, **by_ses(ses))
    stage.send_together(4, tags={"campaign": "spring"})
    stage.start()
    stage.settle()
    assert stage.states() == {"sent": 4}
    assert {one.attempts for one in stage.deliveries()} == {1}
    with stage.engine.connect() as connection:
        frozen = set(connection.execute(sa.select(OutboxMessage.skeleton)).scalars())
    assert {one.content for one in ses.taken} == {b"X-SES-MESSAGE-TAGS: campaign=spring\r\n" + one for one in frozen}
    throttled = [one for one in stage.attempts() if one.code == 429]
    assert [(one.verdict, one.counted, one.about) for one in throttled] == [("transport", False, "account")] * 2


def test_it_is_checked_and_tried_without_a_secret_in_what_is_said(
    sqlite_database: Database, ses: SesServer, relay: Relay, make_stage: MakeStage
) -> None:
    stage = make_stage(sqlite_database, 9, **beside(ses, relay))
    checked = stage.command("outbox-check", "--from", "app@example.org")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"ses (localhost:{ses.port}) is reached" in " ".join(checked.stdout.split())
    assert not ses.requests
    for name in ("second", "ses"):
        tried = stage.command("outbox-test-mail", "ann@example.org", "--transport", name)
        assert tried.returncode == 0, tried.stdout + tried.stderr
        assert f"{name}: accepted at dot" in tried.stdout
    assert (len(relay.taken()), len(ses.taken)) == (1, 1)
    odd = stage.command("outbox-test-mail", "ann@example.org", "--transport", "third")
    assert odd.returncode != 0
    assert "Choose from ses, second" in odd.stderr
    wrong = {"OUTBOX_TRANSPORT_SES_URL": ses.url.replace(KEY_ID, "AKIAWRONG")}
    refused = stage.command("outbox-check", **wrong)
    assert refused.returncode == 1
    assert "UnrecognizedClientException" in refused.stdout
    assert "access key" in refused.stdout
    for said in (checked, refused):
        assert SECRET not in said.stdout + said.stderr


def _enqueue(stage: Stage, recipient: str, **options: str) -> None:
    stage.outbox.enqueue(Message("x", recipients=[recipient], body="x\n"), **options)  # type: ignore[arg-type]
