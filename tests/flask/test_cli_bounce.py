"""`outbox-bounce`: what a mail server pipes into it, and what it is told."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import click
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.cli import ScriptInfo

from outbox import Outbox, Settings
from outbox.cli import commands
from outbox.delivery.states import State
from outbox.message import unsubscribe_link
from outbox.message.bounce_address import BounceAddresses
from outbox.message.unsubscribe_link import Unsubscribing
from outbox.models import OutboxDelivery, OutboxEvent, OutboxSuppression
from outbox.settings.bounce_addresses import bounce_addresses
from outbox.settings.secret_keys import derived
from outbox.store.enqueue import Posting
from tests.db.mails import put
from tests.flask.terminal import Terminal, runner

BACK = {"OUTBOX_SECRET_KEY": "secret", "OUTBOX_BOUNCE_DOMAIN": "bounces.example.org"}

POSTING = Posting(address_key=Settings.from_config(BACK).address_digest_key)

REPORT = """\
Return-Path: <>
From: MAILER-DAEMON@mx.example.org
To: {to}
Message-ID: <report@mx.example.org>
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user
--b
Content-Type: text/rfc822-headers

Message-ID: <1@example.org>
--b--
"""


def addresses() -> BounceAddresses:
    found = bounce_addresses(Settings.from_config(BACK))
    assert found is not None
    return found


@pytest.fixture
def ids(terminal: Terminal) -> list[int]:
    """The deliveries of one message that was sent to two people."""
    return put(terminal.engine, "ann@example.net", "bob@example.net", state=State.SENT, posting=POSTING)


@pytest.fixture
def token(terminal: Terminal, ids: list[int]) -> str:
    with terminal.engine.connect() as connection:
        pk = connection.scalar(sa.select(OutboxDelivery.message_id).where(OutboxDelivery.id == ids[0]))
    return addresses().of_message(pk)


def piped(terminal: Terminal, mail: str | bytes, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """In this process."""
    made: list[tuple[Outbox, Flask]] = []

    def create_app() -> Flask:
        app, outbox = Flask("trial"), Outbox()
        app.config.update(Settings.from_env(terminal.env | BACK | env))
        outbox.init_app(app)
        made.append((outbox, app))
        return app

    command: click.Command = commands.bounce
    try:
        done = runner().invoke(command, words, input=mail, obj=ScriptInfo(create_app=create_app), env=env)
    finally:
        for outbox, app in made:
            outbox.database(app).dispose()
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def events(terminal: Terminal) -> list[tuple[str, int | None, bool]]:
    with terminal.engine.connect() as connection:
        query = sa.select(OutboxEvent.type, OutboxEvent.delivery_id, OutboxEvent.proven).order_by(OutboxEvent.id)
        return [(row.type, row.delivery_id, row.proven) for row in connection.execute(query)]


def suppressed(terminal: Terminal) -> list[str | None]:
    with terminal.engine.connect() as connection:
        return [*connection.scalars(sa.select(OutboxSuppression.address))]


def test_a_report_in_a_pipe(terminal: Terminal, ids: list[int], token: str) -> None:
    """A process of its own: the event is on the delivery, the address suppressed; a second time changes nothing."""
    mail = REPORT.format(to=addresses().address(token), recipient="bob@example.net").encode()
    for said in ("suppressed for all", "known already"):
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "trial", "outbox-bounce"],
            cwd=terminal.folder,
            env=terminal.env | BACK,
            input=mail,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout.decode()
        assert f"delivery {ids[1]}" in done.stdout.decode()
    assert events(terminal) == [("bounced", ids[1], True)]
    assert suppressed(terminal) == ["bob@example.net"]


@pytest.mark.parametrize("forged", ["one byte", "no token", "a victim"])
def test_without_proof(forged: str, terminal: Terminal, ids: list[int], token: str) -> None:
    """Stored and shown; suppresses nothing, and most of all not the address of somebody else."""
    recipient = "ann@example.net"
    if forged == "one byte":
        token = f"{token[:-1]}{int(token[-1], 16) ^ 1:x}"
    if forged == "a victim":  # who got a message knows its token, but it is not about another message's recipient
        put(terminal.engine, "victim@example.net", state=State.SENT, posting=POSTING, message_id="<2@example.org>")
        recipient = "victim@example.net"
    to = "bounce@bounces.example.org" if forged == "no token" else addresses().address(token)
    done = piped(terminal, REPORT.format(to=to, recipient=recipient))
    assert done.returncode == 0
    ((type, delivery, proven),) = events(terminal)
    assert type == "bounced"
    assert (delivery, proven) == ((None, True) if forged == "a victim" else (ids[0], False))
    assert suppressed(terminal) == []


def test_a_victim_named_with_the_token_of_ones_own_message(terminal: Terminal) -> None:
    """Shown on the message that the token is of, which is the writer's; nobody is suppressed, he neither."""
    put(terminal.engine, "victim@example.net", state=State.SENT, posting=POSTING)
    [own] = put(terminal.engine, "ann@example.net", state=State.SENT, posting=POSTING, message_id="<2@example.org>")
    with terminal.engine.connect() as connection:
        pk = connection.scalar(sa.select(OutboxDelivery.message_id).where(OutboxDelivery.id == own))
    mail = REPORT.format(to=addresses().address(addresses().of_message(pk)), recipient="victim@example.net")
    assert "not proven, so nothing follows" in piped(terminal, mail).stdout
    assert events(terminal) == [("bounced", own, False)]
    assert suppressed(terminal) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("RECIPIENT", "bounce+{}@bounces.example.org"), ("EXTENSION", "{}"), ("LOCAL_PART_SUFFIX", "+{}")],
)
def test_the_address_in_the_environment(name: str, value: str, terminal: Terminal, ids: list[int], token: str) -> None:
    """Postfix and Exim tell a pipe whom the mail is for."""
    mail = REPORT.format(to="bounces@example.org", recipient="ann@example.net")
    assert piped(terminal, mail, **{name: value.format(token)}).returncode == 0
    assert events(terminal) == [("bounced", ids[0], True)]


def test_the_address_as_an_argument(terminal: Terminal, ids: list[int], token: str) -> None:
    """`outbox-bounce ${recipient}`, by delivery: the report need not name the recipient."""
    mail = REPORT.format(to="bounces@example.org", recipient="elsewhere@example.com")
    to = addresses().address(addresses().of_delivery(ids[1]))
    assert piped(terminal, mail, to).returncode == 0
    assert events(terminal) == [("bounced", ids[1], True)]
    assert suppressed(terminal) == ["bob@example.net"]


@pytest.mark.parametrize("mail", ["", "\n", "From: ann@example.net\nSubject: Hello\n\nThanks!\n", b"\xff\0\xfe"])
def test_what_is_no_report(mail: str | bytes, terminal: Terminal) -> None:
    """65: the server returns it."""
    done = piped(terminal, mail)
    assert done.returncode == 65
    assert "there is no report in it" in " ".join(done.stderr.split()).lower()
    assert events(terminal) == []


@pytest.mark.parametrize(
    ("words", "env"),
    [
        ((), {"OUTBOX_DATABASE_URL": "postgresql+psycopg://me:secret@127.0.0.1:1/x"}),
        ((), {"OUTBOX_DATABASE_URL": "sqlite:////nowhere/at/all.sqlite"}),
        ((), {"OUTBOX_SECRET_KEY": ""}),
        ((), {"OUTBOX_BREAKER_FAULTS": "many"}),
        (("--no-such-option",), {}),
        (("a", "b"), {}),
    ],
    ids=["no server", "no file", "no secret", "misconfigured", "unknown option", "two addresses"],
)
def test_the_server_keeps_what_was_not_recorded(
    words: tuple[str, ...], env: dict[str, str], terminal: Terminal
) -> None:
    """75, whatever is wrong here: no report is lost for it."""
    done = piped(terminal, REPORT.format(to="x@example.org", recipient="ann@example.net"), *words, **env)
    assert done.returncode == 75, done.stderr
    assert "secret@" not in done.stderr


def test_without_tables(bare: Terminal) -> None:
    """75, too."""
    assert piped(bare, REPORT.format(to="x@example.org", recipient="ann@example.net")).returncode == 75


def test_an_application_that_does_not_load(terminal: Terminal, tmp_path: Path) -> None:
    """75, too: while a release is being put in place, for one."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('half a release')\n")
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "broken", "outbox-bounce"],
        cwd=tmp_path,
        env=terminal.env,
        input=b"x",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 75


def test_a_mail_of_many_megabytes_is_read_to_its_end(terminal: Terminal, ids: list[int], token: str) -> None:
    """A mail server that can't write all of it takes that for a failure."""
    mail = REPORT.format(to=addresses().address(token), recipient="ann@example.net")
    mail = mail.replace("--b--\n", "x" * 5_000_000)
    assert piped(terminal, mail).returncode == 0
    assert events(terminal) == [("bounced", ids[0], True)]


def test_it_holds_nothing_of_a_worker(terminal: Terminal) -> None:
    """A process for each report: it loads neither the worker nor the scheduler."""
    code = (
        "import sys, outbox.cli.bounce, outbox.operations.mail_reports\n"
        "print([name for name in sys.modules if name.startswith(('outbox.worker', 'apscheduler', 'outbox.smtp.http'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


LEAVING = BACK | {"OUTBOX_UNSUBSCRIBE_URL": "https://shop.example/u", "OUTBOX_UNSUBSCRIBE_MAILTO": "leave@shop.example"}


def leaving(subject: str, id: str = "<leave@example.net>") -> bytes:
    """A mail as a mail program writes it."""
    head = f"From: Ann <ann@example.net>\r\nTo: leave@shop.example\r\nMessage-ID: {id}\r\nSubject: {subject}\r\n"
    return f"{head}\r\nunsubscribe\r\n".encode()


def leaving_token(address: str = "ann@example.net") -> str:
    key = derived(Settings.from_config(LEAVING), unsubscribe_link.PURPOSE)[0]
    return unsubscribe_link.token(Unsubscribing(address, "kind:news"), key)


def scopes(terminal: Terminal) -> list[tuple[str | None, str]]:
    with terminal.engine.connect() as connection:
        found = connection.execute(sa.select(OutboxSuppression.address, OutboxSuppression.scope))
        return [(row.address, row.scope) for row in found]


@pytest.mark.parametrize(
    "form",
    [
        "unsubscribe {token}",
        "Unsubscribe  {token} ",
        "UNSUBSCRIBE\r\n {token}",
        "Re: unsubscribe {half}\r\n\t{rest}",
        "unsubscribe%20{token}",
        "=?utf-8?q?unsubscribe_{q_half}?=\r\n =?utf-8?q?{q_rest}?=",
        "=?us-ascii?B?{base64}?=",
    ],
)
def test_unsubscribing_by_mail(form: str, terminal: Terminal, ids: list[int]) -> None:
    """However the mail program writes the subject; on the event of a delivery that is left, once for each mail."""
    token = leaving_token()
    whole = base64.b64encode(f"unsubscribe {token}".encode()).decode()
    half, rest = token[:40], token[40:]
    q = {f"q_{name}": text.replace("_", "=5F") for name, text in (("half", half), ("rest", rest))}
    mail = leaving(form.format(token=token, half=half, rest=rest, base64=whole, **q))
    for said in ("suppressed for kind:news", "known already"):
        done = piped(terminal, mail, **LEAVING)
        assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr
    done = piped(terminal, leaving(f"unsubscribe {token}", "<another@example.net>"), **LEAVING)
    assert (done.returncode, "was unsubscribed already" in done.stdout) == (0, True), done.stdout
    assert scopes(terminal) == [("ann@example.net", "kind:news")]
    assert [type for type, _, _ in events(terminal)] == ["unsubscribed", "unsubscribed"]


def test_a_mail_that_is_read_again_after_a_change_of_mind(terminal: Terminal) -> None:
    """As after a crash before it was marked: it is old by now."""
    mail = leaving(f"unsubscribe {leaving_token()}")
    piped(terminal, mail, **LEAVING)
    with terminal.engine.begin() as connection:
        connection.execute(sa.delete(OutboxSuppression))
    assert "known already" in piped(terminal, mail, **LEAVING).stdout
    assert scopes(terminal) == []


@pytest.mark.parametrize("change", ["one character", "cut", "none", "no words", "another secret"])
def test_a_token_that_is_not_ours(change: str, terminal: Terminal) -> None:
    """Nothing changes, and the mail goes back to who wrote it."""
    token, secret = leaving_token(), {}
    subject = {
        "one character": f"unsubscribe {'A' if token[0] != 'A' else 'B'}{token[1:]}",
        "cut": f"unsubscribe {token[:-5]}",
        "none": "unsubscribe",
        "no words": token,
        "another secret": f"unsubscribe {token}",
    }[change]
    if change == "another secret":
        secret = {"OUTBOX_SECRET_KEY": "another"}
    done = piped(terminal, leaving(subject), **{**LEAVING, **secret})
    assert done.returncode == 65, done.stdout
    assert "token" in done.stderr if change in {"one character", "cut", "another secret"} else "report" in done.stderr
    assert (scopes(terminal), events(terminal)) == ([], [])
