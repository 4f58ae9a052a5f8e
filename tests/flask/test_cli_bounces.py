"""`outbox-bounces` and the worker's duty, with a mailbox on a real IMAP server."""

from __future__ import annotations

import imaplib
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.models import OutboxDelivery
from outbox.settings import Settings
from outbox.smtp.imap import Mailbox, MailboxError
from tests.db.mails import put
from tests.flask.terminal import Terminal
from tests.flask.test_cli_bounce import (
    BACK,
    LEAVING,
    POSTING,
    REPORT,
    addresses,
    events,
    leaving,
    leaving_token,
    scopes,
    suppressed,
)
from tests.servers.dovecot import PASSWORD, USER, Dovecot
from tests.servers.process import ServerUnavailable, polled
from tests.servers.token_server import CLIENT, SECRET, TokenServer
from tests.wire.certificates import ca_file

PERSON = b"From: ann@example.net\r\nSubject: Hello\r\n\r\nThanks!\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    try:
        with Dovecot() as started:
            yield started
    except ServerUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def mailbox(server: Dovecot) -> Iterator[imaplib.IMAP4_SSL]:
    """Emptied."""
    context = ssl.create_default_context(cafile=str(ca_file()))
    with imaplib.IMAP4_SSL("127.0.0.1", server.port, ssl_context=context, timeout=30) as opened:
        opened.login(USER, PASSWORD)
        opened.delete("done")
        if opened.select("INBOX")[1] != [b"0"]:
            opened.store("1:*", "+FLAGS", "\\Deleted")
            opened.expunge()
        yield opened


@pytest.fixture
def env(server: Dovecot) -> dict[str, str]:
    return {**BACK, "OUTBOX_BOUNCE_IMAP_URL": server.url, "OUTBOX_TLS_CA_FILE": str(ca_file())}


@pytest.fixture
def report(terminal: Terminal) -> bytes:
    """About a message that was sent."""
    (id,) = put(terminal.engine, "ann@example.net", state=State.SENT, posting=POSTING)
    with terminal.engine.connect() as connection:
        pk = connection.scalar(sa.select(OutboxDelivery.message_id).where(OutboxDelivery.id == id))
    token = addresses().of_message(pk)
    return REPORT.format(to=addresses().address(token), recipient="ann@example.net").replace("\n", "\r\n").encode()


def put_in(mailbox: imaplib.IMAP4_SSL, *mails: bytes) -> None:
    for mail in mails:
        assert mailbox.append("INBOX", None, None, mail)[0] == "OK"  # type: ignore[arg-type]


def flags(mailbox: imaplib.IMAP4_SSL, folder: str = "INBOX") -> list[str]:
    """Of each mail in it."""
    status, found = mailbox.select(folder, readonly=True)
    if status != "OK" or found == [b"0"]:
        return []
    return [str(one) for one in mailbox.fetch("1:*", "(FLAGS)")[1]]


def test_reports_are_taken_and_the_rest_is_left(
    terminal: Terminal, mailbox: imaplib.IMAP4_SSL, env: dict[str, str], report: bytes
) -> None:
    """A report is recorded and seen; a person's mail stays unread, and is fetched once only."""
    put_in(mailbox, PERSON, report)
    done = terminal.here("outbox-bounces", env=env)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 taken, 1 left unread."), done.stderr
    assert [(type, proven) for type, _, proven in events(terminal)] == [("bounced", True)]
    assert suppressed(terminal) == ["ann@example.net"]
    person, taken = flags(mailbox)
    assert "\\Seen" not in person
    assert "\\Seen" in taken
    done = terminal.here("outbox-bounces", env=env)
    assert done.stdout.splitlines()[-1] == "0 taken, 0 left unread."


def test_who_unsubscribes_by_mail(terminal: Terminal, mailbox: imaplib.IMAP4_SSL, env: dict[str, str]) -> None:
    """A valid token is taken and seen; one that is not ours stays unread, for a person."""
    token = leaving_token()
    put_in(mailbox, leaving(f"unsubscribe {token}"), leaving(f"unsubscribe {token[:-1]}"))
    done = terminal.here("outbox-bounces", env={**LEAVING, **env})
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 taken, 1 left unread."), done.stderr
    assert scopes(terminal) == [("ann@example.net", "kind:news")]
    taken, left = flags(mailbox)
    assert "\\Seen" in taken
    assert "\\Seen" not in left


def test_taken_twice_it_is_stored_once(
    terminal: Terminal, mailbox: imaplib.IMAP4_SSL, env: dict[str, str], report: bytes
) -> None:
    """As after a crash between the two: what was recorded is still unread."""
    put_in(mailbox, report)
    terminal.here("outbox-bounces", env=env)
    mailbox.select("INBOX")
    mailbox.store("1", "-FLAGS", "\\Seen")
    done = terminal.here("outbox-bounces", env=env)
    assert "known already" in done.stdout
    assert len(events(terminal)) == 1


def test_what_is_taken_is_moved(
    terminal: Terminal, mailbox: imaplib.IMAP4_SSL, env: dict[str, str], report: bytes
) -> None:
    """To a folder that is made; the rest stays."""
    put_in(mailbox, report, PERSON)
    done = terminal.here("outbox-bounces", env=env | {"OUTBOX_BOUNCE_IMAP_FOLDER": "done"})
    assert done.returncode == 0, done.stderr
    assert len(flags(mailbox)) == 1
    assert len(flags(mailbox, "done")) == 1


def test_a_worker_looks_by_itself(
    terminal: Terminal, mailbox: imaplib.IMAP4_SSL, env: dict[str, str], report: bytes
) -> None:
    """As a duty of its scheduler."""
    put_in(mailbox, PERSON, report)
    terminal.env |= env | {"OUTBOX_BOUNCE_IMAP_SECONDS": "0.2"}
    with terminal.started("outbox-sender"), polled("the report is recorded", 60) as wait_a_little:
        while not events(terminal):
            wait_a_little()
    assert suppressed(terminal) == ["ann@example.net"]


@pytest.fixture
def endpoint(server: Dovecot) -> Iterator[TokenServer]:
    """Whose tokens the server takes."""
    with TokenServer() as started:
        server.takes_token = started.is_valid
        server.tokens.clear()
        yield started


def by_token(server: Dovecot, endpoint: TokenServer) -> dict[str, str]:
    return {
        "OUTBOX_BOUNCE_IMAP_URL": f"imaps://{USER}@127.0.0.1:{server.port}/INBOX",
        "OUTBOX_BOUNCE_IMAP_AUTH": "xoauth2",
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": "1",
        "MAIL_USE_TLS": "true",
        "MAIL_USERNAME": USER,
        "OUTBOX_AUTH": "xoauth2",
        "OUTBOX_TOKEN_URL": endpoint.url,
        "OUTBOX_CLIENT_ID": CLIENT,
        "OUTBOX_CLIENT_SECRET": SECRET,
    }


def test_by_access_token(
    terminal: Terminal,
    mailbox: imaplib.IMAP4_SSL,
    server: Dovecot,
    endpoint: TokenServer,
    env: dict[str, str],
    report: bytes,
) -> None:
    """XOAUTH2, with the tokens of the transport; one that the server refuses is said, without it."""
    put_in(mailbox, report)
    done = terminal.here("outbox-bounces", env=env | by_token(server, endpoint))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 taken, 0 left unread."), done.stderr
    assert suppressed(terminal) == ["ann@example.net"]
    assert server.tokens == list(endpoint.issued)
    server.takes_token = lambda token: False
    done = terminal.here("outbox-bounces", env=env | by_token(server, endpoint))
    assert (done.returncode, len(endpoint.requests)) == (2, 1)  # a young one: another would be refused as well
    assert "can't be opened" in " ".join(done.stderr.split())
    assert not any(token in done.stderr for token in endpoint.issued)


def test_a_token_that_was_withdrawn_is_renewed_once(
    mailbox: imaplib.IMAP4_SSL, server: Dovecot, endpoint: TokenServer
) -> None:
    """For the next look of a worker, over a fresh connection; refused again, it is a fault."""
    later = 0.0
    configured = Settings.from_env(
        {**BACK, "SECRET_KEY": "x", "OUTBOX_TLS_CA_FILE": str(ca_file()), **by_token(server, endpoint)}
    )
    settings = Settings.from_config(configured)
    assert settings.bounce_mailbox is not None
    relay, folder = settings.bounce_mailbox
    relay = replace(relay, tokens=settings.transports[0].tokens)

    def look() -> list[str]:
        with Mailbox(relay, folder, monotonic=lambda: time.monotonic() + later) as opened:
            return opened.unread()

    put_in(mailbox, PERSON)
    assert len(look()) == 1
    endpoint.withdraw()
    with pytest.raises(MailboxError, match="can't be opened"):
        look()
    assert len(endpoint.requests) == 1
    later = 61.0
    assert len(look()) == 1
    assert len(look()) == 1
    assert len(endpoint.requests) == 2
    server.takes_token = lambda token: False
    later, before = 200.0, len(server.tokens)
    with pytest.raises(MailboxError, match="can't be opened"):
        look()
    assert len(endpoint.requests) == 3
    assert len(set(server.tokens[before:])) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"OUTBOX_TLS_CA_FILE": ""}, "certificate"),
        ({"OUTBOX_BOUNCE_IMAP_URL": "imaps://bounces:wrong@127.0.0.1:{port}"}, "can't be opened"),
        ({"OUTBOX_BOUNCE_IMAP_URL": "imaps://bounces:secret@127.0.0.1:{port}/nosuch"}, "can't be opened"),
        ({"OUTBOX_BOUNCE_IMAP_URL": "imaps://bounces:secret@127.0.0.1:1"}, "can't be opened"),
        ({"OUTBOX_BOUNCE_IMAP_URL": "imap://bounces:secret@mail.example.org"}, "plain text"),
        ({"OUTBOX_BOUNCE_IMAP_URL": ""}, "set outbox_bounce_imap_url"),
        ({"OUTBOX_BOUNCE_IMAP_URL": "pop3://a:b@c"}, "not the url of a mailbox"),
        ({"OUTBOX_BOUNCE_IMAP_AUTH": "xoauth2"}, "no transport has tokens"),
    ],
)
def test_what_is_wrong_is_said(
    change: dict[str, str], said: str, terminal: Terminal, server: Dovecot, env: dict[str, str]
) -> None:
    """Without the password."""
    env |= {name: value.format(port=server.port) for name, value in change.items()}
    done = terminal.here("outbox-bounces", env=env)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split()).lower()
    assert "secret" not in done.stderr
