"""`outbox-check` against relays and applications that are configured wrongly: what it says, and what to do about it."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.db.mails import slow
from tests.flask.terminal import COLUMNS, SGR, Terminal
from tests.servers.token_server import CLIENT, SECRET, TokenServer
from tests.wire import certificates
from tests.wire.actions import SILENCE
from tests.wire.server import SmtpServer

Faults = dict[str, dict[str, str]]


@pytest.fixture
def faults(terminal: Terminal) -> Callable[..., Faults]:
    """The faults that the command finds with a relay and settings, by check."""

    def found(server: SmtpServer | int, *words: str, **env: str) -> Faults:
        port = server if isinstance(server, int) else server.port
        settings = {
            "MAIL_SERVER": "localhost",
            "MAIL_PORT": str(port),
            "OUTBOX_TLS_CA_FILE": str(certificates.ca_file()),
            **env,
        }
        code, said = terminal.json("outbox-check", *words, env=settings)
        wrong = {one["check"]: one for one in said["checks"] if one["ok"] is False}
        assert (code, said["ok"]) == ((1, False) if wrong else (0, True))
        return wrong

    return found


LOGGED_IN = {"MAIL_USERNAME": "shop", "MAIL_PASSWORD": "hunter2", "OUTBOX_ALLOW_PLAINTEXT": "true"}


@pytest.mark.parametrize(
    ("options", "env", "remedy"),
    [
        ({"tls": "implicit"}, {}, "set MAIL_USE_SSL=true"),
        ({"tls": "starttls"}, {"MAIL_USE_SSL": "true"}, "set MAIL_USE_TLS=true"),
        ({}, {"MAIL_USE_TLS": "true"}, "MAIL_USE_SSL=true"),
        ({"tls": "starttls", "certificate": "unknown issuer"}, {"MAIL_USE_TLS": "true"}, "OUTBOX_TLS_CA_FILE"),
        ({"tls": "starttls", "certificate": "expired"}, {"MAIL_USE_TLS": "true"}, "Renew the relay's certificate"),
        ({"tls": "starttls", "certificate": "wrong host"}, {"MAIL_USE_TLS": "true"}, "Set MAIL_SERVER to a name"),
        ({"script": {"ehlo": "501 5.5.4 Invalid domain name"}}, {}, "OUTBOX_LOCAL_HOSTNAME"),
        ({"script": {"greeting": "421 4.3.2 too many connections"}}, {}, "OUTBOX_CONNECTIONS"),
        ({"auth": {}, "mechanisms": "XOAUTH2 OAUTHBEARER"}, LOGGED_IN, "set up access tokens"),
        ({"auth": {}}, LOGGED_IN, "MAIL_PASSWORD"),
        ({}, LOGGED_IN, "leave MAIL_USERNAME and MAIL_PASSWORD out"),
        ({"script": {"auth": "535 5.7.139 SmtpClientAuthentication is disabled for the Tenant"}, "auth": {}}, LOGGED_IN,
         "set up access tokens"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_relay(
    options: dict[str, Any], env: dict[str, str], remedy: str, faults: Callable[..., Faults]
) -> None:
    """The remedy names the setting, whether the fault is of name, TLS or log-in."""
    with SmtpServer(**options) as server:
        found = faults(server, OUTBOX_COMMAND_TIMEOUT_SECONDS="1", **env)
    assert found.keys() == {"smtp"}
    assert remedy in found["smtp"]["remedy"]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("script", "check", "remedy"),
    [
        ({"mail": "530 5.7.0 Authentication required"}, "sender", "MAIL_USERNAME"),
        ({"mail": "530 5.7.0 Must issue a STARTTLS command first"}, "sender", "MAIL_USE_TLS=true"),
        ({"mail": "553 5.7.1 Sender address rejected: not owned by user shop"}, "sender", "MAIL_DEFAULT_SENDER"),
        ({"mail": "550 5.4.5 Daily user sending limit exceeded"}, "sender", "quota"),
        ({"mail": "451 4.3.0 try later"}, "sender", ""),
        ({"rcpt": "554 5.7.1 <ann@example.net>: Relay access denied"}, "recipient", "MAIL_USERNAME"),
        ({"rcpt": "504 5.5.2 <box>: Helo command rejected: need fully-qualified hostname"}, "recipient",
         "OUTBOX_LOCAL_HOSTNAME"),
        ({"rcpt": "550 5.1.1 no such user"}, "recipient", ""),
    ],
)  # fmt: skip
def test_ready_is_only_a_relay_that_takes_the_mail(
    script: dict[str, str], check: str, remedy: str, faults: Callable[..., Faults]
) -> None:
    """MAIL with the sender, RCPT with the recipient; never DATA."""
    with SmtpServer(script) as server:
        found = faults(server, "--to", "ann@example.net")
        assert found.keys() == {check}
        assert remedy in found[check]["remedy"]
        assert next(iter(script.values()))[:3] in found[check]["words"]
        assert not [line for line in server.commands if line == "DATA"]


def test_each_configured_sender_is_tried(faults: Callable[..., Faults]) -> None:
    """The default one and those of --from; one that is refused does not hide the others."""
    refuse = {"mail": lambda client: "550 5.7.1 not yours" if "news@" in client.line else None}
    with SmtpServer(refuse) as server:
        assert faults(server) == {}
        found = faults(server, "--from", "News <news@example.org>", "--from", "c@example.org", "--to", "a@example.net")
        assert found.keys() == {"sender"}
        assert "news@example.org" in found["sender"]["words"]
        tried = [line.partition(">")[0] for line in server.commands[-7:] if line.startswith("MAIL")]
        assert tried[-1] == "MAIL FROM:<c@example.org"


def test_senders_of_the_applications_own_settings_are_tried(terminal: Terminal) -> None:
    """FLASKY_MAIL_SENDER, SECURITY_EMAIL_SENDER: names end so in many applications."""
    source = (terminal.folder / "trial.py").read_text()
    extra = "    app.config.update(FLASKY_MAIL_SENDER='Flasky <flasky@example.org>', X_MAIL_SENDER='none')\n"
    (terminal.folder / "trial.py").write_text(source.replace("    Outbox()", f"{extra}    Outbox()"))
    with SmtpServer() as server:
        done = terminal.run("outbox-check", env={"MAIL_PORT": str(server.port)})
        assert done.returncode == 0, done.stdout
        senders = [line for line in server.commands if line.startswith("MAIL")]
    assert len(senders) == 2
    assert "flasky@example.org" in senders[1]


def test_without_any_sender_a_missing_log_in_is_still_seen(faults: Callable[..., Faults]) -> None:
    """By the null sender; what else a relay says to that means nothing."""
    with SmtpServer({"mail": "530 5.7.0 Authentication required"}) as server:
        assert "MAIL_USERNAME" in faults(server, MAIL_DEFAULT_SENDER="")["sender"]["remedy"]
    with SmtpServer({"mail": "550 5.1.7 null sender refused"}) as server:
        assert faults(server, MAIL_DEFAULT_SENDER="") == {}


def test_another_mechanism_that_works_is_found(faults: Callable[..., Faults]) -> None:
    """PLAIN is refused, LOGIN is not: the setting that helps is named."""

    def only_login(client: Any) -> str | None:
        return "535 5.7.8 authentication failed" if client.line.startswith("AUTH PLAIN") else None

    with SmtpServer({"auth": only_login}, auth={"shop": "hunter2"}, mechanisms="PLAIN LOGIN") as server:
        found = faults(server, **{**LOGGED_IN, "OUTBOX_AUTH": "PLAIN"})
        assert "log-in by" not in found["smtp"]["remedy"]
        found = faults(server, **LOGGED_IN)
    if found:  # where the session does not try the next mechanism by itself
        assert found["smtp"]["remedy"] == "The log-in by LOGIN works: set OUTBOX_AUTH=LOGIN."


def test_access_tokens(faults: Callable[..., Faults], terminal: Terminal) -> None:
    """What is wrong with them is told by itself, with what to do; a token that the relay refuses is told as well."""
    user = {"MAIL_USERNAME": "shop", "MAIL_USE_TLS": "true", "OUTBOX_CLIENT_ID": CLIENT}
    with (
        TokenServer() as endpoint,
        SmtpServer(
            tls="starttls", auth={}, mechanisms="XOAUTH2", takes_token=lambda user, token: endpoint.is_valid(token)
        ) as server,
    ):
        user["OUTBOX_TOKEN_URL"] = endpoint.url
        assert not faults(server, **user, OUTBOX_CLIENT_SECRET=SECRET)
        wrong = faults(server, **user, OUTBOX_CLIENT_SECRET="wrong")
        assert "invalid_client: AADSTS7000215" in wrong["token"]["words"]
        assert "set OUTBOX_CLIENT_SECRET" in wrong["token"]["remedy"]
        server.takes_token = lambda user, token: False
        refused = faults(server, **user, OUTBOX_CLIENT_SECRET=SECRET)["smtp"]
        assert '"status":"401"' in refused["words"]
        assert "SMTP.SendAsApp" in refused["remedy"]


def test_nothing_listens(faults: Callable[..., Faults]) -> None:
    """Refused at once, told with the usual ports."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        found = faults(held.getsockname()[1])
    assert "Nothing listens there" in found["smtp"]["remedy"]


def test_a_relay_that_is_silent_is_told_within_ten_seconds(faults: Callable[..., Faults]) -> None:
    """Whatever time limits are set for workers."""
    with SmtpServer({"greeting": SILENCE}) as server:
        began = time.monotonic()
        found = faults(server)
        assert time.monotonic() - began < 30
    assert "MAIL_USE_SSL" in found["smtp"]["remedy"]


def test_a_relay_that_wants_a_client_certificate(
    faults: Callable[..., Faults], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't be had: the log-in is by name and password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    certificates.authority().issue_cert(*certificates.NAMES).configure_cert(context)
    certificates.authority().configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    monkeypatch.setattr(certificates, "server_context", lambda kind: context)
    with SmtpServer(tls="implicit") as server:
        found = faults(server, MAIL_USE_SSL="true", OUTBOX_COMMAND_TIMEOUT_SECONDS="2")
    assert "client certificate" in found["smtp"]["remedy"]


def test_it_fits_a_terminal(terminal: Terminal) -> None:
    """Faults and remedies go on at a word, within 80 columns."""
    with SmtpServer({"mail": "530 5.7.0 Authentication required"}) as server:
        terminal.env["MAIL_PORT"] = str(server.port)
        with terminal.screen("outbox-check") as screen:
            shown = SGR.sub("", screen.to_end())
    assert screen.process.returncode == 1
    assert max(len(line) for line in shown.splitlines()) <= COLUMNS
    assert "set MAIL_USERNAME and MAIL_PASSWORD" in " ".join(shown.split())


def test_wrong_addresses_end_in_2(terminal: Terminal) -> None:
    """Before anything is looked at."""
    for option in ("--to", "--from"):
        done = terminal.here("outbox-check", option, "nonsense")
        assert (done.returncode, option in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_a_test_mail_that_does_not_go_shows_what_the_check_finds(terminal: Terminal) -> None:
    """With the same remedy."""
    with SmtpServer({"mail": "530 5.7.0 Authentication required"}) as server:
        done = terminal.run("outbox-test-mail", "ann@example.org", env={"MAIL_PORT": str(server.port)})
    assert done.returncode == 1
    assert "set MAIL_USERNAME and MAIL_PASSWORD" in done.stdout
    assert "not sent" in done.stderr


PASSWORD = "S3cret${nowhere}x"


@pytest.mark.parametrize(("line", "told"), [(f"MAIL_PASSWORD={PASSWORD}", True), ("MAIL_PASSWORD=a$b", False)])
def test_a_password_that_the_loader_changed_is_told(line: str, told: bool, terminal: Terminal) -> None:
    """The `flask` command replaces `${...}` in `.env`; here nothing sets the variable."""
    (terminal.folder / ".env").write_text(f"{line}\n")
    with SmtpServer(auth={"shop": "S3cretx"}) as server:
        env = {"MAIL_PORT": str(server.port), "MAIL_USERNAME": "shop", "OUTBOX_ALLOW_PLAINTEXT": "true"}
        done = terminal.run("outbox-check", "--json", env=env)
    assert ("MAIL_PASSWORD in" in done.stdout) is told
    assert PASSWORD not in done.stdout


def test_a_session_on_another_database_is_told(terminal: Terminal, tmp_path: Path) -> None:
    """Mail would be committed where no worker looks."""
    source = (terminal.folder / "trial.py").read_text()
    session = f"Outbox(session=Session(create_engine('sqlite:///{tmp_path / 'other.sqlite'}')))"
    head = "from sqlalchemy import create_engine\nfrom sqlalchemy.orm import Session\n"
    (terminal.folder / "trial.py").write_text(head + source.replace("Outbox()", session))
    done = terminal.run("outbox-check")
    assert done.returncode == 1
    assert "session writes to" in done.stdout


def test_a_transport_that_is_slowed_is_told(terminal: Terminal) -> None:
    """How fast, by which reply, since when and how that ends; it is no fault."""
    with SmtpServer() as server:
        slow(terminal.engine, f"localhost:{server.port}")
        env = {"MAIL_SERVER": "localhost", "MAIL_PORT": str(server.port), "MAIL_DEFAULT_SENDER": "shop@example.org"}
        code, said = terminal.json("outbox-check", env=env)
    (note,) = [one for one in said["checks"] if one["check"] == "slowed"]
    assert (code, note["ok"]) == (0, None)
    assert re.search(
        r"is slowed to [45](\.\d+)?/s by dot: 454 .* until .* UTC, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC",
        note["words"],
    )
    assert note["remedy"] == f"`outbox-resume --slowed localhost:{server.port}` lifts it"
