"""What is understood of the payloads that providers publish, through the blueprint."""

from __future__ import annotations

from typing import Any

import pytest

from outbox.models import OutboxEvent
from tests.flask.webhooks import payloads as of
from tests.flask.webhooks.conftest import Hooks, MakeHooks
from tests.flask.webhooks.signers import SIGN, Request, resend, sendgrid
from tests.servers.sns_server import SnsServer

Said = tuple[str, str | None, str | None, str | None]


def said(event: OutboxEvent) -> Said:
    """Type, recipient, status, the provider's word."""
    status = " ".join(str(part) for part in (event.code, event.enhanced) if part is not None)
    return event.type, event.recipient, status or None, event.category


SES: list[tuple[Any, list[Said]]] = [
    (of.SES_BOUNCE, [("bounced", "jane@example.com", "550 5.1.1", "Permanent/General")]),
    (
        of.SES_BOUNCE_WITHOUT_DSN,
        [
            ("bounced", "jane@example.com", None, "Permanent/General"),
            ("bounced", "richard@example.com", None, "Permanent/General"),
        ],
    ),
    (of.SES_COMPLAINT, [("complained", "richard@example.com", None, "abuse")]),
    (of.SES_DELIVERY, [("delivered", "jane@example.com", "250", None)]),
    (of.SES_PUBLISHED_BOUNCE, [("bounced", "recipient@example.com", "550 5.1.1", "Permanent/General")]),
    (of.SES_TRANSIENT, [("bounced", "recipient@example.com", "4.2.2", "Transient/MailboxFull")]),
    (of.SES_DELAY, [("deferred", "recipient@example.com", "421 4.4.1", "TransientCommunicationFailure")]),
    (of.SES_REJECT, [("bounced", "recipient@example.com", None, "Reject")]),
    (of.SES_SUBSCRIPTION, [("unsubscribed", "recipient@example.com", None, "ContactListName/ExampleTopicName")]),
    (of.SES_OPEN, []),
    (of.SES_CLICK, []),
    (of.SES_SEND, []),
    ("Successfully validated SNS topic for Amazon SES event publishing.", []),
]


@pytest.mark.parametrize(("content", "wanted"), SES)
def test_amazon_ses(hooks: Hooks, sns: SnsServer, content: Any, wanted: list[Said]) -> None:
    """Both of its formats, with one event for each recipient; what is not wanted is accepted."""
    assert hooks.post("ses", sns.message(content)).status_code == 200
    assert [said(event) for event in hooks.events()] == wanted
    assert all(event.proven for event in hooks.events())


OTHERS: list[tuple[str, Any, list[Said]]] = [
    (
        "sendgrid",
        of.SENDGRID,
        [
            ("deferred", "example@test.com", "400", None),
            ("delivered", "example@test.com", "250", None),
            ("bounced", "example@test.com", "500 5.0.0", "bounce/Invalid Address"),
            ("bounced", "example@test.com", "5.0.0", "dropped"),
            ("complained", "example@test.com", None, None),
            ("unsubscribed", "example@test.com", None, None),
            ("unsubscribed", "example@test.com", None, None),
        ],
    ),
    ("mailgun", of.MAILGUN_FAILED, [("bounced", "alice@example.com", None, "suppress-bounce")]),
    ("mailgun", of.MAILGUN_BOUNCED, [("bounced", "alice@example.com", "550 5.1.1", "bounce")]),
    ("mailgun", of.MAILGUN_TEMPORARY, [("deferred", "alice@example.com", "452 4.2.2", "generic")]),
    ("mailgun", of.MAILGUN_DELIVERED, [("delivered", "alice@example.com", "250", None)]),
    ("mailgun", of.MAILGUN_COMPLAINED, [("complained", "alice@example.com", None, None)]),
    ("mailgun", of.MAILGUN_UNSUBSCRIBED, [("unsubscribed", "alice@example.com", None, None)]),
    ("mailgun", of.MAILGUN_OPENED, []),
    ("mailgun", of.MAILGUN_ACCEPTED, []),
    ("postmark", of.POSTMARK_BOUNCE, [("bounced", "john@example.com", "550 5.1.1", "HardBounce")]),
    ("postmark", of.POSTMARK_DELIVERY, [("delivered", "john@example.com", None, None)]),
    ("postmark", of.POSTMARK_COMPLAINT, [("complained", "john@example.com", None, None)]),
    ("postmark", of.POSTMARK_SUBSCRIPTION, [("unsubscribed", "bounced-address@wildbit.com", None, None)]),
    ("postmark", {**of.POSTMARK_SUBSCRIPTION, "SuppressionReason": "HardBounce"}, []),
    ("postmark", {**of.POSTMARK_BOUNCE, "Type": "AutoResponder", "Details": ""},
     [("autoresponded", "john@example.com", None, "AutoResponder")]),
    ("mailjet", of.MAILJET_BOUNCE, [("bounced", "bounce@mailjet.com", "5.1.1", "recipient")]),
    ("mailjet", of.MAILJET_BLOCKED, [("bounced", "bounce@mailjet.com", None, "blocked/recipient")]),
    (
        "mailjet",
        [of.MAILJET_SENT, of.MAILJET_SPAM, of.MAILJET_UNSUB, of.MAILJET_OPEN],
        [
            ("delivered", "bounce@mailjet.com", "250 2.0.0", None),
            ("complained", "bounce@mailjet.com", None, "JMRPP"),
            ("unsubscribed", "bounce@mailjet.com", None, None),
        ],
    ),
    ("brevo", of.BREVO_HARD, [("bounced", "example@domain.com", "550 5.1.1", "hard_bounce")]),
    ("brevo", of.BREVO_SOFT, [("bounced", "example@domain.com", None, "soft_bounce")]),
    (
        "brevo",
        [of.BREVO_REQUEST, of.BREVO_DELIVERED, of.BREVO_DEFERRED, of.BREVO_SPAM, of.BREVO_UNSUBSCRIBED],
        [
            ("delivered", "example@domain.com", None, None),
            ("deferred", "example@domain.com", None, "deferred"),
            ("complained", "example@domain.com", None, None),
            ("unsubscribed", "example@domain.com", None, None),
        ],
    ),
    ("resend", of.RESEND_BOUNCED, [("bounced", "delivered@resend.dev", None, "Permanent/Suppressed")]),
    ("resend", of.RESEND_DELIVERED, [("delivered", "delivered@resend.dev", None, None)]),
    ("resend", of.RESEND_DELAYED, [("deferred", "delivered@resend.dev", None, None)]),
    ("resend", of.RESEND_COMPLAINED, [("complained", "delivered@resend.dev", None, None)]),
    ("resend", of.RESEND_SENT, []),
    ("resend", of.RESEND_CLICKED, []),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "content", "wanted"), OTHERS)
def test_the_other_providers(hooks: Hooks, provider: str, content: Any, wanted: list[Said]) -> None:
    """Each by its own scheme, alone or in batches."""
    answer = hooks.post(provider, SIGN[provider](content))
    assert (answer.status_code, answer.text) == (200, f"recorded: {len(wanted)} of {len(wanted)}\n")
    assert sorted(map(str, map(said, hooks.events()))) == sorted(map(str, wanted))
    assert all(event.proven and event.source == provider for event in hooks.events())


@pytest.mark.parametrize(
    ("provider", "content", "wanted"),
    [
        ("sendgrid", of.SENDGRID, ["clicked", "opened"]),
        ("mailgun", of.MAILGUN_OPENED, ["opened"]),
        ("mailjet", of.MAILJET_OPEN, ["opened"]),
        ("brevo", of.BREVO_OPENED, ["opened"]),
        ("resend", of.RESEND_CLICKED, ["clicked"]),
    ],
)
def test_opened_and_clicked_are_stored_where_they_are_wanted(
    make_hooks: MakeHooks, provider: str, content: Any, wanted: list[str]
) -> None:
    """By a setting."""
    hooks = make_hooks(OUTBOX_EVENTS_OPENED_CLICKED=True)
    assert hooks.post(provider, SIGN[provider](content)).status_code == 200
    assert sorted(event.type for event in hooks.events() if event.type in {"opened", "clicked"}) == wanted


def test_what_is_reported_is_kept(hooks: Hooks, sns: SnsServer) -> None:
    """The time of the event, and the words of the server."""
    hooks.post("ses", sns.message(of.SES_DELAY))
    hooks.post("postmark", SIGN["postmark"](of.POSTMARK_BOUNCE))
    delay, bounce = hooks.events()
    assert f"{delay.at:%Y-%m-%d %H:%M:%S}" == "2020-06-16 00:25:40"
    assert delay.reply == "Unable to connect to remote host"
    assert f"{bounce.at:%Y-%m-%d %H:%M:%S.%f}" == "2019-11-05 16:33:54.907025"
    assert bounce.reply == "The email account that you tried to reach does not exist."


TIES: list[tuple[str, Any, str | None, str | None, str]] = [
    ("sendgrid", of.SENDGRID[5:6], "14c5d75ce93.dfd.64b469", None, "relay-id"),
    ("sendgrid", of.SENDGRID[5:6], None, "<14c5d75ce93.dfd.64b469@ismtpd-555>", "message-id"),
    ("mailgun", of.MAILGUN_BOUNCED, None, "<20130503192659.13651.20287@sandbox.mailgun.org>", "message-id"),
    ("postmark", of.POSTMARK_BOUNCE, "883953f4-6105-42a2-a16a-77a8eac79483", None, "relay-id"),
    ("postmark", {**of.POSTMARK_BOUNCE, "Metadata": {"message-id": "<m1@example.org>"}}, None, "<m1@example.org>",
     "message-id"),
    ("mailjet", of.MAILJET_BOUNCE, "1ab23cd4-e567-8901-2345-6789f0gh1i2j", None, "relay-id"),
    ("mailjet", {**of.MAILJET_BOUNCE, "CustomID": "<m1@example.org>"}, None, "<m1@example.org>", "message-id"),
    ("brevo", of.BREVO_HARD, None, "<201798300811.5787683@relay.domain.com>", "message-id"),
    ("resend", of.RESEND_BOUNCED, "56761188-7520-42d8-8898-ff6fc54ce618", None, "relay-id"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "content", "relay_id", "message_id", "by"), TIES)
def test_events_are_tied(
    hooks: Hooks, provider: str, content: Any, relay_id: str | None, message_id: str | None, by: str
) -> None:
    """By the id that the relay's 250 told, or by the Message-ID, to the delivery of the recipient."""
    request = SIGN[provider](content)
    recipient = next(str(one["email"]) for one in content) if isinstance(content, list) else None
    recipient = recipient or str(content.get("email") or content.get("recipient") or content.get("Email") or "")
    hooks.send(recipient or "delivered@resend.dev", "other@example.net", relay_id=relay_id, message_id=message_id)
    hooks.post(provider, request)
    (event,) = hooks.events()
    assert event.tied == by
    assert event.delivery_id is not None
    reported = {"5.1.1": [event.recipient]}.get(event.enhanced or "", [])
    assert hooks.suppressed() == reported


def test_ses_is_tied_by_its_own_id(hooks: Hooks, sns: SnsServer) -> None:
    """It replaces the Message-ID. One of two recipients bounced, and that one alone is suppressed."""
    hooks.send("jane@example.com", "mary@example.com", relay_id=str(of.SES_MAIL["messageId"]))
    hooks.post("ses", sns.message(of.SES_BOUNCE))
    (event,) = hooks.events()
    assert (event.tied, event.recipient) == ("relay-id", "jane@example.com")
    assert hooks.suppressed() == ["jane@example.com"]


def _ses(type: str) -> dict[str, Any]:
    bounce: Any = of.SES_PUBLISHED_BOUNCE["bounce"]
    return {**of.SES_PUBLISHED_BOUNCE, "bounce": {**bounce, "bounceType": type, "feedbackId": type}}


def _resend(type: str) -> dict[str, Any]:
    bounce = {"message": "no such user", "diagnosticCode": ["smtp; 550 5.1.1 no such user"], "type": type}
    data: Any = of.RESEND_BOUNCED["data"]
    return {**of.RESEND_BOUNCED, "data": {**data, "bounce": {**bounce, "subType": "General"}}}


_SENDGRID: dict[str, Any] = {**of.SENDGRID[5], "reason": "550 5.1.1 no such user", "status": "5.1.1"}
_MAILJET = {**of.MAILJET_BOUNCE, "comment": "550 5.1.1 no such user"}
FOR_A_WHILE: list[tuple[str, Any, Any, str]] = [
    ("ses", _ses("Transient"), _ses("Permanent"), "recipient@example.com"),
    ("sendgrid", [{**_SENDGRID, "type": "blocked"}], [{**_SENDGRID, "sg_event_id": "2"}], "example@test.com"),
    ("mailgun", {**of.MAILGUN_BOUNCED, "severity": "temporary"}, of.MAILGUN_BOUNCED, "alice@example.com"),
    ("postmark", {**of.POSTMARK_BOUNCE, "Type": "SoftBounce"}, {**of.POSTMARK_BOUNCE, "ID": 7}, "john@example.com"),
    ("postmark", {**of.POSTMARK_BOUNCE, "Type": "Transient"}, {**of.POSTMARK_BOUNCE, "ID": 7}, "john@example.com"),
    (
        "mailjet",
        {**_MAILJET, "hard_bounce": False, "error": ""},
        {**_MAILJET, "time": 1430812196},
        "bounce@mailjet.com",
    ),
    ("brevo", {**of.BREVO_HARD, "event": "soft_bounce"}, of.BREVO_HARD, "example@domain.com"),
    ("resend", _resend("Transient"), _resend("Permanent"), "delivered@resend.dev"),
]


@pytest.mark.parametrize(
    ("provider", "soft", "hard", "recipient"),
    FOR_A_WHILE,
    ids=["ses", "sendgrid", "mailgun", "postmark-soft", "postmark-transient", "mailjet", "brevo", "resend"],
)
def test_what_a_provider_calls_temporary_suppresses_nobody(
    hooks: Hooks, sns: SnsServer, provider: str, soft: Any, hard: Any, recipient: str
) -> None:
    """Though the server said 5.1.1: the provider knows more. The same as a hard bounce does suppress."""
    relay_id, message_id = _TIED.get(provider, (None, None))
    hooks.send(recipient, relay_id=relay_id, message_id=message_id)
    for content, wanted in ((soft, []), (hard, [recipient])):
        made = {"ses": sns.message, "resend": lambda content: resend(content, id_=content["data"]["bounce"]["type"])}
        request = {**SIGN, **made}[provider](content)
        assert hooks.post(provider, request).text == "recorded: 1 of 1\n"
        event = hooks.events()[-1]
        assert (event.enhanced, event.delivery_id is not None) == ("5.1.1", True)
        assert event.soft or event.type == "deferred" or wanted
        assert hooks.suppressed() == wanted


_TIED: dict[str, tuple[str | None, str | None]] = {
    "ses": (str(of.SES_PUBLISHED_BOUNCE["mail"]["messageId"]), None),  # type: ignore[index]
    **{provider: (relay_id, message_id) for provider, _, relay_id, message_id, _ in reversed(TIES)},
}


def test_a_complaint_of_one_of_several_suppresses_nobody(hooks: Hooks, sns: SnsServer) -> None:
    """Where an ISP hides who it was, SES names all recipients there."""
    hooks.send("jane@example.com", "richard@example.com", relay_id=str(of.SES_MAIL["messageId"]))
    complaint = dict(of.SES_COMPLAINT["complaint"])  # type: ignore[call-overload]
    complaint["complainedRecipients"] = [{"emailAddress": "jane@example.com"}, {"emailAddress": "richard@example.com"}]
    hooks.post("ses", sns.message({**of.SES_COMPLAINT, "complaint": complaint}))
    assert [(event.type, event.proven) for event in hooks.events()] == [("complained", False)] * 2
    assert hooks.suppressed() == []


def test_a_test_request_of_sendgrid_itself(make_hooks: MakeHooks) -> None:
    """Its public key, signature and bytes, as its own libraries have them in their tests: right, but of 2020."""
    key = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6"
        "wEA3F+g=="
    )
    body = (
        b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","sg_event_id":"ZHJvcC0xMDk5NDkxOS1M'
        b'UnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-'
        b'5F5FC76C-9.0","smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
    )
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM"
        "+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
        "X-Twilio-Email-Event-Webhook-Timestamp": "1600112502",
    }
    hooks = make_hooks(OUTBOX_SENDGRID_PUBLIC_KEY=f"-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
    answer = hooks.post("sendgrid", Request(body, headers))
    assert answer.status_code == 403
    assert "time stamp" in answer.text
    changed = hooks.post("sendgrid", Request(body + b"\n", headers))
    assert "signature" in changed.text


def test_values_of_unexpected_types(hooks: Hooks) -> None:
    """Half a character, a NUL, lists in the place of texts: what can be read is stored, and nothing fails."""
    odd = {
        **of.SENDGRID[5],
        "reason": "550 5.1.1 \ud800 no\x00body",
        "bounce_classification": ["x"],
        "smtp-id": 7,
        "timestamp": "soon",
        "email": "y" * 400 + "@example.org",
        "sg_event_id": "e" * 300,
    }
    assert hooks.post("sendgrid", sendgrid([odd, 5, None, "x"])).status_code == 200
    (event,) = hooks.events()
    assert (event.code, event.enhanced, event.reply, event.recipient) == (550, "5.1.1", "? nobody", None)
