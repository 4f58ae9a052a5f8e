"""OUTBOX_PRESET gives defaults and no more; OUTBOX_REPLY_RULES is checked at start."""

from __future__ import annotations

import json
from typing import Any

import pytest

from outbox.core.errors import ConfigurationError
from outbox.delivery.reply import About, Phase, Reply, Verdict
from outbox.delivery.verdicts import judge_reply
from outbox.settings import Settings
from outbox.settings.relay import Security


@pytest.mark.parametrize(
    ("config", "host", "port", "security"),
    [
        ({"OUTBOX_PRESET": "resend"}, "smtp.resend.com", 587, Security.STARTTLS),
        ({"OUTBOX_PRESET": "resend", "MAIL_USE_SSL": "true"}, "smtp.resend.com", 465, Security.TLS),
        ({"OUTBOX_PRESET": "Resend", "MAIL_PORT": 2587}, "smtp.resend.com", 2587, Security.STARTTLS),
        ({"OUTBOX_PRESET": "brevo"}, "smtp-relay.brevo.com", 465, Security.TLS),
        ({"OUTBOX_PRESET": "brevo", "MAIL_USE_TLS": "true"}, "smtp-relay.brevo.com", 587, Security.STARTTLS),
        (
            {"OUTBOX_PRESET": "ses", "MAIL_SERVER": "email-smtp.eu-west-1.amazonaws.com"},
            "email-smtp.eu-west-1.amazonaws.com",
            587,
            Security.STARTTLS,
        ),
        ({"OUTBOX_PRESET": "gmail", "MAIL_SERVER": "127.0.0.1"}, "127.0.0.1", 25, Security.NONE),
        ({"OUTBOX_PRESET": "postfix"}, "127.0.0.1", 25, Security.NONE),
        ({"MAIL_SERVER": "localhost"}, "localhost", 25, Security.NONE),
    ],
)
def test_where_the_relay_is(config: dict[str, Any], host: str, port: int, security: Security) -> None:
    """The preset's host, port and TLS, unless a setting says otherwise or names a host that is not the provider's."""
    relay = Settings.from_config(config).relay
    assert (relay.host, relay.port, relay.security) == (host, port, security)


def test_limits() -> None:
    """The provider's where it has less than the defaults; a setting goes before it."""
    exchange = {"OUTBOX_PRESET": "exchange"}
    assert Settings.from_config(exchange).connections == 3
    assert Settings.from_config({**exchange, "OUTBOX_CONNECTIONS": 8}).connections == 8
    known = {"MAIL_SERVER": "smtp.office365.com", "MAIL_USE_TLS": True}
    assert Settings.from_config(known).connections == 3
    assert Settings.from_config({**known, "OUTBOX_PRESET": "generic"}).connections == 4
    assert Settings.from_config({"OUTBOX_PRESET": "postfix"}).connections == 4


def test_headers() -> None:
    """What a provider wants on each message."""
    assert Settings.from_config({"OUTBOX_PRESET": "postmark"}).relay.headers == (("X-PM-KeepID", "true"),)
    assert Settings.from_config({"OUTBOX_PRESET": "resend"}).relay.idempotency_header == "Resend-Idempotency-Key"
    assert Settings.from_config({}).relay.headers == ()


def test_a_preset_without_a_host() -> None:
    """SES has a host for each region."""
    with pytest.raises(ConfigurationError, match=r"email-smtp\.<region>\.amazonaws\.com"):
        Settings.from_config({"OUTBOX_PRESET": "ses"})
    with pytest.raises(ConfigurationError, match="OUTBOX_PRESET is 'gmial', not"):
        Settings.from_config({"OUTBOX_PRESET": "gmial"})


RULES = [
    {"code": 550, "text": "plan exhausted", "about": "account", "note": "used up"},
    {"enhanced": ["5.7.999"], "step": "mail", "about": "sender"},
    {"text": "being moved", "verdict": "transient"},
    {"text": "no such user", "about": "recipient"},
]


@pytest.mark.parametrize("given", [RULES, json.dumps(RULES)])
@pytest.mark.parametrize(
    ("phase", "reply", "verdict", "about"),
    [
        (Phase.RCPT, Reply(550, None, "Monthly PLAN Exhausted"), Verdict.TRANSPORT, About.ACCOUNT),
        (Phase.RCPT, Reply(554, None, "Monthly plan exhausted"), Verdict.PERMANENT, None),
        (Phase.MAIL, Reply(550, "5.7.999", "no"), Verdict.CONFIGURATION, About.SENDER),
        (Phase.DOT, Reply(554, None, "mailbox being moved"), Verdict.TRANSIENT, None),
        (Phase.RCPT, Reply(550, None, "no such user"), Verdict.PERMANENT, About.RECIPIENT),
    ],
)
def test_what_a_taught_reply_means(
    given: Any, phase: Phase, reply: Reply, verdict: Verdict, about: About | None
) -> None:
    """The first rule that fits decides; what it leaves out fits everything."""
    rules = Settings.from_config({"OUTBOX_REPLY_RULES": given}).relay.rules
    judgement = judge_reply(phase, reply, "generic", rules)
    assert (judgement.verdict, judgement.about) == (verdict, about)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nonsense", "not a JSON list"),
        ({"code": 550}, "not a list of mappings"),
        (["x"], "a rule 1 that is 'x', not a mapping"),
        ([RULES[0], {"codes": 550, "about": "account"}], "a rule 2 that holds codes (did you mean code)"),
        ([{"x": 1, "code": 550, "about": "account"}], "a rule 1 that holds x (the keys are code, enhanced, text"),
        (
            [{"code": 999, "abuot": "account"}, RULES[0], {"about": "account"}],
            "1 that holds abuot (did you mean about) and has the code 999, which is none of 400 to 599; a rule 3 that",
        ),
        (
            [{"code": [550, 554], "about": "account"}, {"code": 550, "text": "x", "about": "sender"}],
            "a rule 2 that nothing ever gets to, since all that fits it fits rule 1: put it first",
        ),
        ([{"about": "account"}], "fits every reply"),
        ([{"code": 550}], "says nothing"),
        ([{"code": 250, "about": "account"}], "none of 400 to 599"),
        ([{"enhanced": "5.7", "about": "account"}], "not one such as 5.7.1"),
        ([{"text": "(", "about": "account"}], "not a regular expression"),
        ([{"text": "x", "about": "acount"}], "the about 'acount', which is none of recipient"),
        ([{"text": "x", "about": "acount"}], "(did you mean account)"),
        ([{"text": "x", "verdict": "accepted"}], "none of transient, permanent, transport, configuration"),
        ([{"text": "x", "step": "helo", "about": "relay"}], "the step 'helo'"),
    ],
)
def test_faulty_rules(given: Any, words: str) -> None:
    """Each is told at start, by its number."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_config({"OUTBOX_REPLY_RULES": given})
    assert words in str(raised.value)
