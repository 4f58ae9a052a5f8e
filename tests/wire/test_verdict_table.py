"""The table phase x failure -> verdict of docs/guarantees.md, each cell driven by a server that really does it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from outbox.delivery.reply import Phase, Result, Verdict
from outbox.settings.relay import Relay
from outbox.smtp.connection import Connection
from tests.wire.actions import CLOSE, GARBAGE, RESET, SILENCE, Action, After, Both, Choice, Later, Raw, Take
from tests.wire.conftest import CONTENT, envelope, once_reached
from tests.wire.server import SmtpServer

Connect = Callable[[Relay], Connection]

PATIENT = 30.0  # seconds: where nobody is silent no limit may decide

TRANSPORT, CONFIGURATION = Verdict.TRANSPORT, Verdict.CONFIGURATION
TRANSIENT, PERMANENT, UNKNOWN = Verdict.TRANSIENT, Verdict.PERMANENT, Verdict.UNKNOWN

NO_REPLY: tuple[tuple[str, Action], ...] = (
    ("close", CLOSE),
    ("reset", RESET),
    ("silence", SILENCE),
    ("garbage", GARBAGE),
    ("no code", Raw(b"hello there\r\n")),
    ("code 199", "199 what"),
    ("code 600", "600 what"),
    ("code 334", "334 what"),
    ("half a reply", Both(Raw(b"25"), CLOSE)),
    ("half of several lines", Both(Raw(b"250-one\r\n250-two\r\n"), CLOSE)),
    ("two classes", Raw(b"250-fine\r\n550 not at all\r\n")),
)

ACCOUNT_FAULTS = {  # nobody's mail's fault, at whatever command they come
    "550 5.4.5 Daily user sending limit exceeded": TRANSPORT,
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException": TRANSPORT,
    "550 5.2.251 throttled": TRANSPORT,
    "432 4.3.2 Concurrent connections limit exceeded": TRANSPORT,
    "454 Throttling failure: Maximum sending rate exceeded.": TRANSPORT,
    "554 Message rejected: Email address is not verified.": CONFIGURATION,
    "550 5.7.26 This mail is unauthenticated": CONFIGURATION,
    "550 5.7.515 Access denied, sending domain does not meet the required authentication level": CONFIGURATION,
}


def cells() -> list[Any]:
    """(server's settings, script, phase, verdict) for each cell."""
    found: list[Any] = []

    def cell(name: str, phase: Phase, verdict: Verdict, script: dict[str, Choice], **settings: Any) -> None:
        found.append(pytest.param(settings, script, phase, verdict, id=name))

    for name, action in NO_REPLY:
        greeting = Later(0.05, action) if action is RESET else action  # at once it may be connecting that fails
        cell(f"greeting {name}", Phase.GREETING, TRANSPORT, {"greeting": greeting})
        cell(f"ehlo {name}", Phase.EHLO, TRANSPORT, {"ehlo": action})
        cell(f"starttls {name}", Phase.TLS, TRANSPORT, {"starttls": action}, tls="starttls")
        cell(f"ehlo in tls {name}", Phase.EHLO, TRANSPORT, {"ehlo_tls": action}, tls="starttls")
        cell(f"auth {name}", Phase.AUTH, TRANSPORT, {"auth": action}, tls="starttls", auth={"u": "p"})
        for extensions in ((), ("PIPELINING",)):
            how = "pipelined" if extensions else "one by one"
            cell(f"mail {name} {how}", Phase.MAIL, TRANSPORT, {"mail": action}, extensions=extensions)
            cell(f"rcpt {name} {how}", Phase.RCPT, TRANSPORT, {"rcpt": action}, extensions=extensions)
            cell(f"data {name} {how}", Phase.DATA, TRANSPORT, {"data": action}, extensions=extensions)
        cell(f"dot {name}", Phase.DOT, UNKNOWN, {"dot": action})
        cell(f"dot taken {name}", Phase.DOT, UNKNOWN, {"dot": Take(action)})
        cell(f"dot in tls {name}", Phase.DOT, UNKNOWN, {"dot": action}, tls="starttls")

    for code in ("421", "450", "454", "554", "500"):
        cell(f"greeting {code}", Phase.GREETING, TRANSPORT, {"greeting": f"{code} not now"})
        cell(f"ehlo {code}", Phase.EHLO, TRANSPORT, {"ehlo": f"{code} not now"})
    cell("data 250", Phase.DATA, TRANSPORT, {"data": "250 fine"})
    cell("rcpt 354", Phase.RCPT, TRANSPORT, {"rcpt": "354 go ahead"})
    cell("dot 354", Phase.DOT, UNKNOWN, {"dot": "354 more"})

    for certificate in ("expired", "wrong host", "unknown issuer"):
        for tls in ("starttls", "implicit"):
            cell(f"{tls} certificate {certificate}", Phase.TLS, CONFIGURATION, {}, tls=tls, certificate=certificate)
    cell("starttls stripped", Phase.TLS, CONFIGURATION, {}, tls="starttls", strip_starttls=True)
    cell("starttls 454", Phase.TLS, TRANSPORT, {"starttls": "454 4.7.0 not now"}, tls="starttls")
    cell("starttls 421", Phase.TLS, TRANSPORT, {"starttls": "421 4.7.0 not now"}, tls="starttls")
    cell("starttls 502", Phase.TLS, CONFIGURATION, {"starttls": "502 5.5.1 no"}, tls="starttls")
    injected = Raw(b"220 go ahead\r\n250 2.0.0 injected\r\n")
    cell("starttls injected", Phase.TLS, TRANSPORT, {"starttls": injected}, tls="starttls")
    late = Both(Raw(b"220 go ahead\r\n"), Later(0.05, Raw(b"250 2.0.0 injected\r\n")))
    cell("starttls injected late", Phase.TLS, TRANSPORT, {"starttls": late}, tls="starttls")
    later_reset = Later(0.05, RESET)
    for tls in ("starttls", "implicit"):
        for name, action in (("close", CLOSE), ("reset", later_reset), ("silence", SILENCE), ("garbage", GARBAGE)):
            cell(f"{tls} handshake {name}", Phase.TLS, TRANSPORT, {"handshake": action}, tls=tls)

    for code in ("454 4.7.0", "421 4.7.0", "432 4.7.12"):
        cell(f"auth {code}", Phase.AUTH, TRANSPORT, {"auth": f"{code} later"}, tls="starttls", auth={"u": "p"})
    for code in ("530", "534", "535", "538", "550"):
        cell(f"auth {code}", Phase.AUTH, CONFIGURATION, {"auth": f"{code} no"}, tls="starttls", auth={"u": "p"})
    none = {"tls": "starttls", "auth": {"u": "p"}, "mechanisms": "GSSAPI NTLM"}
    cell("auth no common mechanism", Phase.AUTH, CONFIGURATION, {}, **none)

    for extensions in ((), ("PIPELINING",)):
        how = {"extensions": extensions}
        mode = "pipelined" if extensions else "one by one"
        for step, phase in (("mail", Phase.MAIL), ("rcpt", Phase.RCPT), ("data", Phase.DATA), ("dot", Phase.DOT)):
            cell(f"{step} 421 {mode}", phase, TRANSPORT, {step: "421 4.3.2 closing"}, **how)
            cell(f"{step} 421 closed {mode}", phase, TRANSPORT, {step: Both("421 4.3.2 closing", CLOSE)}, **how)
            for code in ("450 4.2.0", "451", "452 4.3.1", "499"):
                cell(f"{step} {code} {mode}", phase, TRANSIENT, {step: f"{code} later"}, **how)
            for code in ("501", "550 5.1.1", "552 5.3.4", "553", "554 5.6.0", "555", "556", "599"):
                cell(f"{step} {code} {mode}", phase, PERMANENT, {step: f"{code} never"}, **how)
        cell(f"mail 530 {mode}", Phase.MAIL, CONFIGURATION, {"mail": "530 5.7.0 log in first"}, **how)
        cell(f"rcpt 551 {mode}", Phase.RCPT, PERMANENT, {"rcpt": "551 5.1.6 moved"}, **how)
        cell(f"rcpt 552 5.2.2 {mode}", Phase.RCPT, PERMANENT, {"rcpt": "552 5.2.2 mailbox full"}, **how)
        cell(f"rcpt 552 4.5.3 {mode}", Phase.RCPT, TRANSIENT, {"rcpt": "552 4.5.3 slow down"}, **how)
        cell(f"rcpt 552 text {mode}", Phase.RCPT, TRANSIENT, {"rcpt": "552 Too many recipients"}, **how)
    cell("rcpt 550 4.2.1", Phase.RCPT, TRANSIENT, {"rcpt": "550 4.2.1 the two codes disagree"})
    cell("dot 450 5.6.0", Phase.DOT, TRANSIENT, {"dot": "450 5.6.0 the two codes disagree"})

    for words, verdict in ACCOUNT_FAULTS.items():
        for step, phase in (("mail", Phase.MAIL), ("rcpt", Phase.RCPT), ("data", Phase.DATA), ("dot", Phase.DOT)):
            cell(f"{step} {words[:12]}", phase, verdict, {step: words})

    for name, action in (("close", CLOSE), ("reset", RESET)):
        cell(f"body {name} at once", Phase.BODY, TRANSPORT, {"body": After(0, action)})
        cell(f"body {name} later", Phase.BODY, TRANSPORT, {"body": After(100_000, action)})
    refusal = Both("552 5.3.4 too large for us", CLOSE)
    cell("body 552", Phase.BODY, PERMANENT, {"body": After(200_000, refusal)})
    return found


@pytest.mark.parametrize(("settings", "script", "phase", "verdict"), cells())
def test_cell(
    settings: dict[str, Any], script: dict[str, Choice], phase: Phase, verdict: Verdict, connect: Connect
) -> None:
    """Each failure has the phase and the verdict of the table, and none counts as accepted."""
    with SmtpServer(script, **settings) as server:
        user = {"username": "u", "password": "p"} if settings.get("auth") else {}
        body = CONTENT if phase is not Phase.BODY else CONTENT + b"x" * 70 + (b"\r\n" + b"y" * 70) * 100_000 + b"\r\n"

        def attempt(seconds: float) -> Result:
            limits = {"send_timeout": seconds, "dot_timeout": seconds, "command_timeout": seconds}
            return connect(server.relay(**limits, **user)).deliver(envelope(size=0), body)

        silent = [step for step, choice in script.items() if choice in (SILENCE, Take(SILENCE))]
        result = once_reached(server, silent[0], 0.4, attempt) if silent else attempt(PATIENT)
        assert (result.verdict, result.phase) == (verdict, phase), result
        assert result.reply.text
        assert len(server.messages) == ("dot" in script and isinstance(script["dot"], Take))


def test_unresolved_name(connect: Connect) -> None:
    """A relay whose name has no address is the transport's fault."""
    result = connect(Relay(host="no-such-host.invalid", allow_plaintext=True)).deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (TRANSPORT, Phase.RESOLVE)


def test_name_that_is_none(connect: Connect) -> None:
    """A host name that cannot be one is told as a value, too."""
    result = connect(Relay(host="a..b", allow_plaintext=True)).deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (TRANSPORT, Phase.RESOLVE)


def test_refused_connection(connect: Connect) -> None:
    """A port on which nobody listens is the transport's fault."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = connect(Relay(host="127.0.0.1", port=port)).deliver(envelope(), CONTENT)
    assert (result.verdict, result.phase) == (TRANSPORT, Phase.CONNECT)


LARGE = CONTENT + b"seventy characters or so of text that fill a line of this large mail\r\n" * 200


@pytest.mark.parametrize(("content", "arrived"), [(CONTENT, b""), (LARGE, LARGE)])
def test_given_up_before_the_dot(content: bytes, arrived: bytes, connect: Connect) -> None:
    """When `before_dot` says no, the server has at most the content, but no mail, and the connection is gone."""
    with SmtpServer() as server:
        connection = connect(server.relay())
        result = connection.deliver(envelope(), content, before_dot=lambda: False)
        assert (result.verdict, result.phase) == (TRANSPORT, Phase.BODY)
        assert result.reply.text.startswith("given up before the final dot")
        assert not connection.is_open
        server.wait_until(lambda: server.unfinished)
        assert server.messages == []
        assert server.unfinished == [arrived.replace(b"\r\n.", b"\r\n..")[:-2]]


def test_a_large_mail_is_there_before_its_dot_is_asked_for(connect: Connect) -> None:
    """`before_dot` is called when the server has all of the content but its last CRLF."""
    arrived = threading.Event()
    size = len(LARGE.replace(b"\r\n.", b"\r\n..")) - 2
    with SmtpServer({"body": After(size, Raw(b""))}) as server:

        def before_dot() -> bool:
            server.wait_until(lambda: server.steps["body"])
            arrived.set()
            return True

        result = connect(server.relay()).deliver(envelope(), LARGE, before_dot=before_dot)
        assert result.verdict is Verdict.ACCEPTED
        assert arrived.is_set()
        assert [mail.content for mail in server.messages] == [LARGE]


@pytest.mark.parametrize("after", [CLOSE, RESET, Raw(b"421 bye\r\n"), GARBAGE])
def test_what_follows_the_final_250_is_ignored(after: Action, connect: Connect) -> None:
    """Accepted stays accepted, and the connection is not used again if it is in doubt."""
    with SmtpServer({"dot": Take(Both("250 2.0.0 ok", after))}) as server:
        connection = connect(server.relay())
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        server.script.clear()
        assert connection.deliver(envelope("c@example.net"), CONTENT).verdict is Verdict.ACCEPTED
        assert [mail.rcpt for mail in server.messages] == ["b@example.net", "c@example.net"]
        assert server.connections == 2


@pytest.mark.parametrize("action", ["500 what", "421 no", CLOSE, RESET, SILENCE, GARBAGE])
def test_a_quit_that_fails_changes_nothing(action: Action, connect: Connect) -> None:
    """`close` never raises and never waits long."""
    with SmtpServer({"quit": action}) as server:
        connection = connect(server.relay(command_timeout=0.3))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        connection.close()
        assert not connection.is_open
