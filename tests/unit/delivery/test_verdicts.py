"""What a reply or failure means, without a network: the table, the reply rules, and what must pass through them."""

from __future__ import annotations

import itertools

import pytest

from outbox.delivery.reply import About, Phase, Verdict, parse_reply
from outbox.delivery.reply_presets import PRESETS
from outbox.delivery.reply_rules import GENERAL
from outbox.delivery.verdicts import Failure, judge_failure, judge_reply, preset_for
from tests.unit.delivery.replies import ACCOUNT, RECIPIENTS, SAID, Said

TRANSPORT, CONFIGURATION = Verdict.TRANSPORT, Verdict.CONFIGURATION
TRANSIENT, PERMANENT = Verdict.TRANSIENT, Verdict.PERMANENT
REMOTE = [phase for phase in Phase if phase is not Phase.LOCAL]
ALL_PRESETS = ("generic", *PRESETS)
TRANSACTION = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT)


def judge(phase: Phase, line: str, preset: str = "generic") -> Verdict:
    code, _, text = line.partition(" ")
    return judge_reply(phase, parse_reply(int(code), text.encode()), preset).verdict


THROTTLED = [
    "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to ...",
    "550 5.4.5 Daily user sending quota exceeded",
    "550 5.4.5",
    "450 4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary error.",
    "450 4.4.5 Daily user sending limit exceeded",
    "550 5.7.1 Daily SMTP relay limit exceeded for customer",
    "550 5.7.1 Daily SMTP relay sending limit exceeded",
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message",
    "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.",
    "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
    "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException",
    "554 5.2.2 the sender's mailbox is full",
    "550 5.2.251 throttled",
    "550 5.2.252 Sender throttled due to something",
    "550 5.2.253",
    "550 5.2.254 throttled",
    "450 4.2.255 throttled",
    "550 5.2.255 throttled",
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
    "550 5.7.705 Access denied, tenant has exceeded threshold",
    "454 Throttling failure: Maximum sending rate exceeded.",
    "454 Throttling failure: Daily message quota exceeded.",
    "554 Throttling failure: Daily message quota exceeded.",
    "451 4.7.1 Sending rate limit reached, try again in 30 seconds",
    "550 Hourly sending limit of 500 exceeded",
    "452 4.3.1 Too many connections from your host",
    "451 4.7.0 Too many messages on this session",
    "450 4.7.1 Error: too much mail: rate limited",
]

MISCONFIGURED = [
    "554 Message rejected: Email address is not verified. The following identities failed the check: a@example.org",
    "554 5.7.60 SMTP; Client does not have permissions to send as this sender",
    "550 5.7.1 You are not allowed to send as a@example.org",
    "553 5.7.1 <a@example.org>: Sender address rejected: not owned by user u",
    "550 5.7.26 This mail is unauthenticated, which poses a security risk",
    "450 5.7.26 This mail is unauthenticated",
    "550 5.7.515 Access denied, sending domain example.org does not meet the required authentication level",
    "550 The from address does not match a verified Sender Identity.",
    "554 5.2.252 SendAsDenied; a@example.org not allowed to send as b@example.org",
    "530 5.7.0 Must issue a STARTTLS command first",
    "554 Message rejected: Sending paused for this account.",
]


@pytest.mark.parametrize("line", THROTTLED)
@pytest.mark.parametrize("phase", TRANSACTION)
def test_throttles_and_quotas_are_nobodys_mails_fault(line: str, phase: Phase) -> None:
    """Whatever the phase and the class of the code."""
    assert judge(phase, line) is TRANSPORT


@pytest.mark.parametrize("line", MISCONFIGURED)
@pytest.mark.parametrize("phase", TRANSACTION)
def test_not_verified_and_not_allowed_are_the_configurations(line: str, phase: Phase) -> None:
    """A sender that the relay does not accept fails no message."""
    assert judge(phase, line) is CONFIGURATION


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("550 5.1.1 The email account that you tried to reach does not exist", PERMANENT),
        ("550 5.1.1 User unknown", PERMANENT),
        ("550 No such user here", PERMANENT),
        ("552 5.2.2 The email account that you tried to reach is over quota", PERMANENT),
        ("452 4.2.2 The email account that you tried to reach is over quota", TRANSIENT),
        ("552 5.2.2 mailbox full", PERMANENT),
        ("452 4.2.2 Mailbox full", TRANSIENT),
        ("552 5.2.2 Quota exceeded (mailbox for user is full)", PERMANENT),
        ("452 4.2.2 Quota exceeded (mailbox for user is full)", TRANSIENT),
        ("554 5.2.2 mailbox full", PERMANENT),
        ("552 mail quota exceeded", PERMANENT),
        ("552 5.2.2 User has exceeded mail quota", PERMANENT),
        ("550 5.2.1 The user you are trying to contact is receiving mail too quickly", PERMANENT),
        ("450 4.2.1 The user you are trying to contact is receiving mail at a rate that exceeds a limit", TRANSIENT),
        ("550 5.7.1 Relay access denied", PERMANENT),
        ("554 5.7.1 Service unavailable; client host blocked", PERMANENT),
        ("450 4.2.0 Greylisted, please try again in 300 seconds", TRANSIENT),
        ("451 4.7.1 Greylisting in action, please come back in 00:04:59", TRANSIENT),
        ("552 5.3.4 Message size exceeds fixed limit", PERMANENT),
        ("552 5.3.4 Message size limit exceeded", PERMANENT),
        ("554 5.4.6 Too many hops", PERMANENT),
        ("452 4.5.3 Too many recipients", TRANSIENT),
        ("552 4.5.3 Too many recipients", TRANSIENT),
        ("552 Too many recipients", TRANSIENT),
        ("550 5.5.3 Too many recipients", TRANSIENT),
        ("550 5.7.1 Message rejected as spam", PERMANENT),
        ("550 5.2.0 mailbox is disabled, not accepting messages", PERMANENT),
        ("550 5.2.1 Account has been disabled", PERMANENT),
        ("550 5.2.1 This account has been suspended", PERMANENT),
        ("550 5.7.1 You are not authorized to send to this recipient", PERMANENT),
        ("550 5.7.1 not allowed to send mail to this group", PERMANENT),
        ("550 5.2.1 The email account that you tried to reach is inactive, account is disabled", PERMANENT),
    ],
)
def test_a_recipients_own_fault_stays_its_own(line: str, verdict: Verdict) -> None:
    """No rule, general or a preset's, takes a bad recipient for a fault of the account: that would stop the queue."""
    judged = {preset: judge(Phase.RCPT, line, preset) for preset in ALL_PRESETS}
    assert judged == dict.fromkeys(ALL_PRESETS, verdict)


@pytest.mark.parametrize(
    ("preset", "phase", "line", "verdict"),
    [
        ("gmail", Phase.AUTH, "535 5.7.8 Username and Password not accepted", CONFIGURATION),
        ("gmail", Phase.AUTH, "454 4.7.0 Too many login attempts, please try again later.", TRANSPORT),
        ("gmail", Phase.AUTH, "550 5.7.1 Too many login attempts", TRANSPORT),
        ("gmail", Phase.MAIL, "550 5.7.1 Invalid credentials for relay [192.0.2.1]", CONFIGURATION),
        ("gmail", Phase.DOT, "450 4.7.26 This mail has been rate limited because it is unauthenticated", CONFIGURATION),
        ("exchange", Phase.MAIL, "530 5.7.57 Client was not authenticated to send anonymous mail", CONFIGURATION),
        ("exchange", Phase.DOT, "550 5.1.8 Access denied, bad outbound sender", CONFIGURATION),
        ("exchange", Phase.DOT, "550 5.7.708 Service unavailable. Access denied, traffic not accepted", CONFIGURATION),
        ("exchange", Phase.MAIL, "451 4.7.500 Server busy. Please try again later", TRANSPORT),
        (
            "ses",
            Phase.MAIL,
            "554 Access denied: User `arn:aws:...' is not authorized to perform `ses:SendRawEmail'",
            CONFIGURATION,
        ),
        ("sendgrid", Phase.AUTH, "451 Authentication failed: Maximum credits exceeded", TRANSPORT),
        ("sendgrid", Phase.DATA, "550 Unauthenticated senders not allowed", CONFIGURATION),
        ("mailgun", Phase.DOT, "550 5.7.1 Sandbox subdomains are for test purposes only.", CONFIGURATION),
        (
            "mailgun",
            Phase.RCPT,
            "550 Domain mg.example.org is not allowed to send: The domain is unverified",
            CONFIGURATION,
        ),
        ("mailgun", Phase.DOT, "452 Message limit reached", TRANSPORT),
    ],
)
def test_presets(preset: str, phase: Phase, line: str, verdict: Verdict) -> None:
    """What the large relays say, each by its own table."""
    assert judge(phase, line, preset) is verdict


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO, Phase.TLS, Phase.AUTH, *TRANSACTION])
def test_421_is_the_transports_everywhere(phase: Phase) -> None:
    """421 says that the server closes, whatever it closes for."""
    judged = {preset: judge(phase, "421 4.7.26 not verified, quota exceeded", preset) for preset in ALL_PRESETS}
    assert judged == dict.fromkeys(ALL_PRESETS, TRANSPORT)


@pytest.mark.parametrize("phase", [Phase.AUTH, *TRANSACTION])
@pytest.mark.parametrize("code", [100, 199, 211, 250, 299, 334, 354, 399, 600, 999])
def test_a_code_that_is_no_answer(phase: Phase, code: int) -> None:
    """A good code where it is none decides nothing; after the dot nobody knows then, but for 2xx."""
    wanted = TRANSPORT if phase is not Phase.DOT else Verdict.ACCEPTED if 200 <= code < 300 else Verdict.UNKNOWN
    assert judge(phase, f"{code} what") is wanted


def test_where_codes_disagree_the_more_careful_wins() -> None:
    """550 4.x.x and 450 5.x.x are both tried again; 250 5.x.x is taken."""
    assert judge(Phase.RCPT, "550 4.1.1 x") is TRANSIENT
    assert judge(Phase.RCPT, "450 5.1.1 x") is TRANSIENT
    assert judge(Phase.DOT, "250 5.1.1 x") is Verdict.ACCEPTED


def test_a_refused_sender_is_called_so() -> None:
    """A permanent refusal of MAIL is a fault of the sender's address, and says so, unless it is the size."""
    assert "sender's address" in judge_reply(Phase.MAIL, parse_reply(550, b"5.1.8 no")).note
    assert "too large" in judge_reply(Phase.MAIL, parse_reply(552, b"5.3.4 no")).note
    assert "quota" in judge_reply(Phase.DOT, parse_reply(550, b"5.4.5 no")).note


@pytest.mark.parametrize("phase", REMOTE)
def test_failures(phase: Phase) -> None:
    """After the dot every failure is unknown; before it none is, none is transient, and none is accepted."""
    possible = {Verdict.UNKNOWN} if phase is Phase.DOT else {TRANSPORT, CONFIGURATION, PERMANENT}
    verdicts = {failure: judge_failure(phase, failure).verdict for failure in Failure}
    assert {failure: verdict for failure, verdict in verdicts.items() if verdict not in possible} == {}


@pytest.mark.parametrize(
    ("host", "preset"),
    [
        ("smtp.gmail.com", "gmail"),
        ("SMTP-RELAY.gmail.com.", "gmail"),
        ("smtp.office365.com", "exchange"),
        ("example-org.mail.protection.outlook.com", "exchange"),
        ("smtp-mail.outlook.com", "exchange"),
        ("email-smtp.eu-west-1.amazonaws.com", "ses"),
        ("email-smtp-fips.us-gov-west-1.amazonaws.com", "ses"),
        ("smtp.sendgrid.net", "sendgrid"),
        ("smtp.eu.mailgun.org", "mailgun"),
        ("localhost", "generic"),
        ("127.0.0.1", "generic"),
        ("gmail.com.example.org", "generic"),
        ("notgmail.com", "generic"),
        ("s3.eu-west-1.amazonaws.com", "generic"),
        ("", "generic"),
    ],
)
def test_preset_for(host: str, preset: str) -> None:
    """The table of rules is found by the relay's host name."""
    assert preset_for(host) == preset


def test_every_preset_can_be_found() -> None:
    """And every rule says why."""
    assert set(PRESETS) == {"gmail", "exchange", "ses", "sendgrid", "mailgun"}
    assert all(rule.note for rule in itertools.chain(GENERAL, *PRESETS.values()))


@pytest.mark.parametrize(
    ("phase", "line", "about"),
    [
        (Phase.RCPT, "550 5.1.1 User unknown", About.RECIPIENT),
        (Phase.RCPT, "452 4.2.2 Mailbox full", About.RECIPIENT),
        (Phase.RCPT, "450 4.7.1 <b@example.org>: rate limit for this recipient exceeded", About.RECIPIENT),
        (Phase.RCPT, "451 4.7.1 Greylisting in action, please come back in 00:04:59", About.RECIPIENT),
        (Phase.RCPT, "550 5.1.8 a@example.org: Domain not found", About.SENDER),
        (Phase.MAIL, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", About.SENDER),
        (Phase.MAIL, "552 5.3.4 Message size exceeds fixed limit", About.MESSAGE),
        (Phase.DOT, "554 5.6.0 malformed", About.MESSAGE),
        (Phase.MAIL, "451 4.7.0 Too many messages in this session", About.SESSION),
        (Phase.RCPT, "452 4.5.3 Recipients per session reached", About.SESSION),
        (Phase.MAIL, "421 4.7.0 Too many messages on this connection", About.SESSION),
        (Phase.DOT, "432 4.3.2 Concurrent connections limit exceeded", About.CONNECTIONS),
        (Phase.GREETING, "421 4.7.0 mx Error: too many connections from 192.0.2.1", About.CONNECTIONS),
        (Phase.DOT, "454 Throttling failure: Daily message quota exceeded.", About.ACCOUNT),
        (Phase.MAIL, "550 5.4.5 Daily user sending limit exceeded", About.ACCOUNT),
        (Phase.AUTH, "535 5.7.8 Username and Password not accepted", About.RELAY),
        (Phase.MAIL, "530 5.7.0 Authentication required", About.RELAY),
        (Phase.RCPT, "554 Message rejected: Email address is not verified.", None),
        (Phase.MAIL, "421 4.3.2 closing", None),
        (Phase.RCPT, "550 5.7.1 Relay access denied", None),
        (Phase.RCPT, "550 No", None),
        (Phase.DOT, "250 2.0.0 taken", None),
    ],
)
def test_what_a_reply_is_about(phase: Phase, line: str, about: About | None) -> None:
    """As far as its words or codes say; None where only comparison with other deliveries can tell."""
    code, _, text = line.partition(" ")
    assert judge_reply(phase, parse_reply(int(code), text.encode())).about is about


@pytest.mark.parametrize("said", ACCOUNT, ids=lambda said: f"{said.relay} {said.line[:60]}")
def test_what_relays_say_of_the_account(said: Said) -> None:
    """Real replies of many relays: verdict and what they are about, each from the relay's words alone or its preset."""
    assert _judged(said) == (said.verdict, said.about)


@pytest.mark.parametrize("said", RECIPIENTS, ids=lambda said: f"{said.relay} {said.line[:60]}")
def test_what_relays_say_of_recipients_stays_theirs(said: Said) -> None:
    """No rule of any table takes a recipient's or a message's own fault for the account's."""
    judged = {preset: _judged(said._replace(preset=preset)) for preset in ALL_PRESETS}
    assert judged == dict.fromkeys(ALL_PRESETS, (said.verdict, said.about))


def test_each_text_names_where_it_was_seen() -> None:
    """And the tables are as large as they claim to be."""
    assert len({said.line for said in ACCOUNT}) >= 60
    assert len({said.line for said in RECIPIENTS}) >= 40
    assert {said.fault for said in SAID} == {"account", "recipient"}
    assert all(said.source and said.relay for said in SAID)


def _judged(said: Said) -> tuple[Verdict, About | None]:
    code, _, text = said.line.partition(" ")
    judgement = judge_reply(said.phase, parse_reply(int(code), text.encode()), said.preset)
    return judgement.verdict, judgement.about
