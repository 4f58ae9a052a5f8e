"""Access tokens that end while a worker works: two processes, a real endpoint over HTTPS that is down for a while."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from outbox.models import Base
from tests.servers.databases import Database
from tests.servers.token_server import CLIENT, REFRESH_TOKEN, SECRET, TokenServer
from tests.story.conftest import MakeStage
from tests.story.stage import until
from tests.wire import certificates
from tests.wire.actions import Later, Take
from tests.wire.server import SmtpServer

PROCESSES = 2
PER_CONNECTION = 5


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.parametrize(
    ("life", "down", "messages", "delay"),
    [
        (4.0, 1.0, 200, 0.1),  # 5 s: as long as it takes for two renewals to fall due
        pytest.param(20.0, 8.0, 500, 0.25, marks=pytest.mark.long),
    ],
)
def test_tokens_that_end(
    life: float,
    down: float,
    messages: int,
    delay: float,
    database: Database,
    make_stage: MakeStage,
    tmp_path: Path,
) -> None:
    """All is sent, each process fetches a token each half of its life, nobody notices that the endpoint is down, and
    no token or secret is in a log, a table, or what a command says."""
    with (
        TokenServer(life=life) as endpoint,
        SmtpServer(
            {"dot": Take(Later(delay, "250 2.0.0 ok"))},
            tls="starttls",
            auth={},
            mechanisms="XOAUTH2",
            takes_token=lambda user, token: user == "shop" and endpoint.is_valid(token),
        ) as server,
    ):
        stage = make_stage(
            database,
            server.port,
            MAIL_SERVER="localhost",
            MAIL_USE_TLS="true",
            MAIL_USERNAME="shop",
            MAIL_MAX_EMAILS=str(PER_CONNECTION),
            OUTBOX_AUTH="xoauth2",
            OUTBOX_CONNECTIONS="2",
            OUTBOX_TLS_CA_FILE=str(certificates.ca_file()),
            OUTBOX_TOKEN_URL=endpoint.url,
            OUTBOX_CLIENT_ID=CLIENT,
            OUTBOX_CLIENT_SECRET=SECRET,
            OUTBOX_LEASE_SECONDS="60",
        )
        stage.send_together(messages)
        began = time.monotonic()
        stage.start("--processes", str(PROCESSES), ready=False)
        until(lambda: len(endpoint.issued) >= PROCESSES and len(server.messages) >= 20, "mail goes")
        endpoint.down.set()
        until(lambda: endpoint.turned_away, "a renewal that fails")
        failing = time.monotonic()
        until(lambda: time.monotonic() > failing + down, "the endpoint is back", limit=down + 60)
        endpoint.down.clear()
        assert stage.settle(limit=300) == {"sent": messages}
        took = time.monotonic() - began
        assert server.connections >= messages / PER_CONNECTION
        verdicts = Counter(attempt.verdict for attempt in stage.attempts())
        assert verdicts.pop("accepted") == messages
        assert verdicts.keys() <= {"transport"}  # a connection that a busy machine lost: it counts for nothing
        assert PROCESSES < len(endpoint.requests) <= PROCESSES * (took / (life / 2) + 1)
        said = [stage.command(*words).stdout for words in (["outbox-status", "--json"], ["outbox-check", "--json"])]
        assert '"ok": true' in said[1]
    stage.close()
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    stored = sqlite_bytes(database) if database.name == "sqlite" else rows(database)
    shown = stage.logs() + "".join(said)
    assert "a new access token from https://localhost" in shown
    for secret in (SECRET, *endpoint.issued):
        assert secret not in shown
        assert secret.encode() not in files + stored


def test_refresh_tokens_that_work_once(sqlite_database: Database, make_stage: MakeStage, tmp_path: Path) -> None:
    """Two processes, another worker and a restart go on with the one that is kept; nothing shows it."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with (
        TokenServer(life=2.0) as endpoint,
        SmtpServer(
            tls="starttls",
            auth={},
            mechanisms="XOAUTH2",
            takes_token=lambda user, token: user == "shop" and endpoint.is_valid(token),
        ) as server,
    ):
        endpoint.rotates = True
        stage = make_stage(
            sqlite_database,
            server.port,
            MAIL_SERVER="localhost",
            MAIL_USE_TLS="true",
            MAIL_USERNAME="shop",
            MAIL_MAX_EMAILS="5",
            OUTBOX_CONNECTIONS="2",
            OUTBOX_TLS_CA_FILE=str(certificates.ca_file()),
            OUTBOX_TOKEN_URL=endpoint.url,
            OUTBOX_CLIENT_ID=CLIENT,
            OUTBOX_CLIENT_SECRET=SECRET,
            OUTBOX_REFRESH_TOKEN=REFRESH_TOKEN,
            OUTBOX_REFRESH_TOKEN_FILE=str(folder / "refresh-token"),
            OUTBOX_LEASE_SECONDS="60",
        )
        stage.send_together(20)
        first = stage.start("--processes", "2", ready=False)
        until(lambda: len(endpoint.issued) >= 4, "each process has renewed")
        assert stage.settle() == {"sent": 20}
        first.signal(signal.SIGTERM)
        assert first.wait(60) == 0
        stage.send_together(20)
        stage.start()
        assert stage.settle() == {"sent": 40}
        assert Counter(attempt.verdict for attempt in stage.attempts()) == {"accepted": 40}
        assert "revoked" not in endpoint.refresh_tokens
        shown = stage.logs() + stage.command("outbox-status", "--json").stdout
    stage.close()
    shown += "".join(path.read_text(errors="replace") for path in tmp_path.iterdir() if path.is_file())
    for token in endpoint.refresh_tokens:
        assert token not in shown
        assert token.encode() not in sqlite_bytes(sqlite_database)


def sqlite_bytes(database: Database) -> bytes:
    """All that is in its files."""
    path = Path(database.url.partition("///")[2].partition("?")[0])
    return b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))


def rows(database: Database) -> bytes:
    """All that is in its tables."""
    with database.engine.connect() as connection:
        tables = (connection.execute(sa.select(table)).all() for table in Base.metadata.sorted_tables)
        return repr(list(tables)).encode()
