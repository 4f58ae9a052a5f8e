"""Amazon SES by its API, over real sockets and TLS: what each answer and each failure means."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from outbox.delivery.reply import About, Phase, Verdict
from outbox.settings import Settings
from outbox.settings.relay import Relay
from outbox.smtp.opening import connection_to
from outbox.smtp.own_transport import OwnTransport
from tests.servers.ses_server import HANG, SECRET, Cuts, Says, SesServer
from tests.wire import certificates
from tests.wire.conftest import CONTENT, envelope


def relay_of(server: SesServer, **changes: Any) -> Relay:
    """As the settings make it."""
    settings = Settings.from_config(
        {
            "OUTBOX_TRANSPORTS": "ses",
            "OUTBOX_TRANSPORT_SES_URL": server.url,
            "OUTBOX_TLS_CA_FILE": certificates.ca_file(),
        }
    )
    return dataclasses.replace(settings.transports[0], **changes)


def connected(relay: Relay) -> OwnTransport:
    made = connection_to(None, relay)
    assert isinstance(made, OwnTransport)
    return made


@pytest.fixture
def ses() -> Iterator[SesServer]:
    with SesServer() as server:
        yield server


def test_the_frozen_bytes_are_accepted_under_an_id(ses: SesServer) -> None:
    """To the one recipient of the envelope, with the envelope's sender for bounces; connections are kept."""
    with connected(relay_of(ses)) as connection:
        results = [connection.deliver(envelope(f"b{number}@example.net"), [CONTENT]) for number in range(3)]
        assert connection.is_connected
    assert [(one.verdict, one.relay_id, one.reply.code) for one in results] == [
        (Verdict.ACCEPTED, f"0102-{number}", 200) for number in (1, 2, 3)
    ]
    assert {one.content for one in ses.taken} == {CONTENT}
    assert [one.to for one in ses.taken] == [("b0@example.net",), ("b1@example.net",), ("b2@example.net",)]
    assert {one.feedback for one in ses.taken} == {"a@example.org"}
    assert "FromEmailAddress" not in ses.taken[0].request
    assert ses.connections == 1
    assert ses.unsigned == 0


@pytest.mark.parametrize(
    ("says", "verdict", "about", "phase"),
    [
        (Says(429, "TooManyRequestsException", "Maximum sending rate exceeded."), "transport", "account", "dot"),
        (Says(400, "ThrottlingException", "Rate exceeded"), "transport", "account", "dot"),
        (Says(400, "LimitExceededException", "Daily message quota exceeded."), "transport", "account", "dot"),
        (Says(400, "AccountSuspendedException", "restricted"), "configuration", "relay", "dot"),
        (Says(400, "SendingPausedException", "paused"), "configuration", "relay", "dot"),
        (Says(400, "MailFromDomainNotVerifiedException", "x"), "configuration", "sender", "dot"),
        (Says(400, "MessageRejected", "Email address is not verified. The following …"), "configuration", None, "dot"),
        (Says(400, "MessageRejected", "Could not parse the message"), "permanent", "message", "dot"),
        (Says(400, "BadRequestException", "Missing final '@domain'"), "permanent", "recipient", "dot"),
        (Says(400, "BadRequestException", "something else"), "permanent", None, "dot"),
        (Says(404, "NotFoundException", "Configuration set <x> does not exist."), "configuration", "relay", "auth"),
        (Says(403, "SignatureDoesNotMatch", "x"), "configuration", "relay", "auth"),
        (
            Says(403, "AccessDeniedException", "User is not authorized on arn:aws:ses:…:identity/example.org"),
            "configuration",
            "sender",
            "dot",
        ),
        (Says(403, "AccessDeniedException", "No."), "configuration", "relay", "auth"),
        (Says(500, "InternalFailure", "x"), "unknown", None, "dot"),
        (Says(502), "unknown", None, "dot"),
        (Says(503), "transport", "relay", "dot"),
        (Says(504), "unknown", None, "dot"),
        (Says(413), "permanent", "message", "dot"),
        (Says(302, headers={"Location": "https://elsewhere.example/"}), "configuration", "relay", "auth"),
        (Says(418), "permanent", None, "dot"),
    ],
)
def test_what_an_answer_means(ses: SesServer, says: Says, verdict: str, about: str | None, phase: str) -> None:
    """By the name of the error, else by the status; the next message goes over the same connection."""
    ses.script = [says]
    with connected(relay_of(ses)) as connection:
        result = connection.deliver(envelope(), CONTENT)
        assert (result.verdict, result.about, result.phase, result.reply.code) == (verdict, about, phase, says.status)
        assert says.error in result.reply.text
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert len(ses.taken) == 1


def test_retry_after_is_honoured(ses: SesServer) -> None:
    ses.script = [
        Says(429, "TooManyRequestsException", "x", {"Retry-After": "7"}),
        Says(503, headers={"Retry-After": "30"}),
        Says(503, headers={"Retry-After": "soon"}),
        Says(429, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
    ]
    with connected(relay_of(ses)) as connection:
        results = [connection.deliver(envelope(), CONTENT) for _ in range(4)]
    assert [one.retry_after for one in results] == [7.0, 30.0, None, 0.0]
    assert [one.about for one in results] == [About.ACCOUNT, About.ACCOUNT, About.RELAY, About.ACCOUNT]


def test_a_taught_reply_goes_before_the_table(ses: SesServer) -> None:
    ses.script = [Says(400, "BadRequestException", "our own words")]
    rule = '[{"text": "our own words", "verdict": "transport", "about": "account"}]'
    settings = Settings.from_config(
        {
            "OUTBOX_TRANSPORTS": "ses",
            "OUTBOX_TRANSPORT_SES_URL": ses.url,
            "OUTBOX_TRANSPORT_SES_REPLY_RULES": rule,
            "OUTBOX_TLS_CA_FILE": certificates.ca_file(),
        }
    )
    with connected(settings.transports[0]) as connection:
        result = connection.deliver(envelope(), CONTENT)
    assert (result.verdict, result.about) == (Verdict.TRANSPORT, About.ACCOUNT)


@pytest.mark.parametrize(
    ("cuts", "phase", "verdict"),
    [
        (Cuts("body"), Phase.DOT, Verdict.UNKNOWN),
        (Cuts("body", takes=True), Phase.DOT, Verdict.UNKNOWN),
        (Cuts("answer", takes=True), Phase.DOT, Verdict.UNKNOWN),
    ],
)
def test_a_connection_that_ends_after_the_request(ses: SesServer, cuts: Cuts, phase: Phase, verdict: Verdict) -> None:
    """Nobody can know whether the message was taken, and it is not repeated by itself."""
    ses.script = [cuts]
    with connected(relay_of(ses)) as connection:
        result = connection.deliver(envelope(), CONTENT)
        assert (result.phase, result.verdict) == (phase, verdict)
        assert ses.requests == 1
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert ses.connections == 2


def test_a_big_request_that_is_cut_was_not_taken(ses: SesServer) -> None:
    """The connection ends before the last byte was handed over: provably nothing was taken."""
    ses.script = [Cuts("head")]
    big = CONTENT + b"x" * 76 * 60_000
    with connected(relay_of(ses)) as connection:
        result = connection.deliver(envelope(), big)
    assert (result.phase, result.verdict) == (Phase.BODY, Verdict.TRANSPORT)
    assert not ses.taken


def test_an_idle_connection_that_was_closed_is_no_ones_fault(ses: SesServer) -> None:
    with connected(relay_of(ses)) as connection:
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        ses.drop()
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
    assert (len(ses.taken), ses.connections) == (2, 2)


def test_an_answer_that_does_not_come_in_time_is_unknown(ses: SesServer) -> None:
    ses.script = [HANG]
    with connected(relay_of(ses, command_timeout=0.4)) as connection:
        result = connection.deliver(envelope(), CONTENT)
    assert (result.phase, result.verdict) == (Phase.DOT, Verdict.UNKNOWN)
    assert 0.3 < result.duration < 10


def test_another_thread_can_end_it(ses: SesServer) -> None:
    ses.script = [HANG]
    connection = connected(relay_of(ses))
    results = []
    thread = threading.Thread(target=lambda: results.append(connection.deliver(envelope(), CONTENT)))
    thread.start()
    while not ses.taken:
        thread.join(0.02)
    connection.abort()
    thread.join(10)
    assert not thread.is_alive()
    assert results[0].verdict is Verdict.UNKNOWN
    connection.close()


def test_what_is_not_reached_took_nothing(ses: SesServer) -> None:
    """No connection, a certificate that proves nothing: the mark before the hand-over is not even asked for."""
    relay = relay_of(ses)
    asked = []
    for changes, phase, verdict in (
        ({"port": 1}, Phase.CONNECT, Verdict.TRANSPORT),
        ({"host": "no-such-host.invalid"}, Phase.RESOLVE, Verdict.TRANSPORT),
        ({"tls_name": "other.example"}, Phase.TLS, Verdict.CONFIGURATION),
        ({"ca_file": None}, Phase.TLS, Verdict.CONFIGURATION),
        ({"fingerprints": ("0" * 64,)}, Phase.TLS, Verdict.CONFIGURATION),
    ):
        with connected(dataclasses.replace(relay, **changes)) as connection:
            result = connection.deliver(envelope(), CONTENT, before_dot=lambda: not asked.append(1))
        assert (result.phase, result.verdict, result.about) == (phase, verdict, About.RELAY), result
    assert not asked
    assert not ses.requests


def test_nothing_is_handed_over_without_leave(ses: SesServer) -> None:
    with connected(relay_of(ses)) as connection:
        result = connection.deliver(envelope(), CONTENT, before_dot=lambda: False)
        assert (result.phase, result.verdict) == (Phase.BODY, Verdict.TRANSPORT)
        assert connection.deliver(envelope(), CONTENT, before_dot=lambda: True).verdict is Verdict.ACCEPTED
    assert ses.requests == 1


def test_a_wrong_key_is_told_without_the_secret(ses: SesServer) -> None:
    relay = relay_of(ses, password="wrong-secret")
    with connected(relay) as connection:
        result = connection.deliver(envelope(), CONTENT)
        checked = connection.check()
    for one in (result, checked):
        assert (one.verdict, one.phase, one.about) == (Verdict.CONFIGURATION, Phase.AUTH, About.RELAY)
    assert "wrong-secret" not in repr((result, checked, relay))
    ses.script = [Says(400, "BadRequestException", f"you said {SECRET}")]
    with connected(relay_of(ses)) as connection:
        assert connection.deliver(envelope(), CONTENT).reply.text == "BadRequestException: you said [hidden]"


def test_the_check_sends_nothing(ses: SesServer) -> None:
    with connected(relay_of(ses)) as connection:
        good = connection.check()
        assert (good.verdict, good.note) == (Verdict.ACCEPTED, "12 of 50,000 messages in 24 hours, 14 a second")
        ses.account = {"SendingEnabled": False}
        assert connection.check().verdict is Verdict.CONFIGURATION
        ses.account = Says(403, "AccessDeniedException", "not authorized to perform: ses:GetAccount")
        limited = connection.check()
        assert (limited.verdict, "ses:GetAccount" in limited.note) == (Verdict.ACCEPTED, True)
        ses.account = Says(500)
        assert connection.check().verdict is Verdict.TRANSPORT
    assert not ses.requests


def test_the_body_is_json_of_the_documented_form(ses: SesServer) -> None:
    relay = relay_of(ses)
    relay = dataclasses.replace(relay, options=(*relay.options, ("configuration_set", "ours")))
    with connected(relay) as connection:
        connection.deliver(envelope(sender=""), CONTENT)
    request = ses.taken[0].request
    assert json.loads(json.dumps(request)).keys() == {"Destination", "Content", "ConfigurationSetName"}
    assert request["ConfigurationSetName"] == "ours"
