"""What is refused, without a request of ours to anybody; and what is to be sent again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from outbox.web.events import fetching
from tests.flask.webhooks import payloads as of
from tests.flask.webhooks.conftest import PREFIX, Hooks, MakeHooks
from tests.flask.webhooks.signers import SIGN, Request, basic, mailgun, resend, sendgrid
from tests.servers.sns_server import CERTIFICATE_URL, HOST, SnsServer, ago, certificate, key

CONTENT: dict[str, Any] = {
    "sendgrid": of.SENDGRID,
    "mailgun": of.MAILGUN_BOUNCED,
    "postmark": of.POSTMARK_BOUNCE,
    "mailjet": of.MAILJET_BOUNCE,
    "brevo": of.BREVO_HARD,
    "resend": of.RESEND_BOUNCED,
}
FETCHED = ["CONNECT " + HOST + ":443", "GET " + CERTIFICATE_URL.removeprefix(f"https://{HOST}")]


@pytest.fixture(autouse=True)
def nobody_asked(request: pytest.FixtureRequest, sns: SnsServer) -> Iterator[None]:
    """All requests of this process go to a proxy; tests that may ask say so."""
    yield
    if "may_fetch" not in request.fixturenames:
        assert sns.requests == []


@pytest.fixture
def may_fetch() -> None:
    """This test has a certificate fetched, and looks itself."""


def refused(hooks: Hooks, provider: str, request: Request | bytes, words: str, status: int = 403) -> None:
    answer = hooks.post(provider, request)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert hooks.events() == []


FOREIGN = [
    "https://evil.example.org/SimpleNotificationService-1.pem",
    f"http://{HOST}/SimpleNotificationService-1.pem",
    f"https://{HOST}.evil.example.org/SimpleNotificationService-1.pem",
    f"https://{HOST}@evil.example.org/SimpleNotificationService-1.pem",
    f"https://evil.example.org#{HOST}/SimpleNotificationService-1.pem",
    f"https://{HOST}:8443/SimpleNotificationService-1.pem",
    f"https://{HOST}/SimpleNotificationService-1.pem?x=1",
    f"https://{HOST}/../SimpleNotificationService-1.pem",
    f"https://{HOST}/certificate.txt",
    "https://sns.s3.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.s3-us-west-2.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.amazonaws.com.evil.org/SimpleNotificationService-1.pem",
    "https://[::1/x.pem",
    "file:///etc/ssl/certs/x.pem",
]


def test_a_foreign_certificate_is_not_fetched(hooks: Hooks, sns: SnsServer) -> None:
    """Whatever the URL looks like at first sight."""
    for url in FOREIGN:
        refused(hooks, "ses", sns.message(of.SES_BOUNCE, SigningCertURL=url), "the URL of its certificate")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"TopicArn": "arn:aws:sns:us-east-1:999999999999:mail"}, "its topic"),
        ({"TopicArn": ["arn:aws:sns:us-east-1:123456789012:mail"]}, "its topic"),
        ({"Timestamp": ago(hours=2)}, "too old"),
        ({"Timestamp": ago(hours=-1)}, "too old, or this machine's clock is wrong"),
        ({"Timestamp": "yesterday"}, "no time stamp"),
        ({"Type": "Other"}, "not a message of Amazon SNS"),
    ],
)
def test_of_another_topic_or_time(hooks: Hooks, sns: SnsServer, fields: dict[str, Any], words: str) -> None:
    """Before its certificate is fetched, though it is signed rightly."""
    refused(hooks, "ses", sns.message(of.SES_BOUNCE, **fields), words)


def test_raw_message_delivery_is_not_signed(hooks: Hooks) -> None:
    """The remedy is named."""
    refused(hooks, "ses", json.dumps(of.SES_BOUNCE).encode(), "raw message delivery")


@pytest.mark.usefixtures("may_fetch")
def test_a_changed_message_or_another_key(hooks: Hooks, sns: SnsServer) -> None:
    """The certificate of SNS is fetched once, and what it did not sign is refused."""
    body = sns.message(of.SES_BOUNCE)
    for name in ("Message", "MessageId", "Subject", "Timestamp"):
        changed = json.loads(body)
        changed[name] = ago(minutes=1) if name == "Timestamp" else changed[name].replace("a", "b", 1)
        refused(hooks, "ses", json.dumps(changed).encode(), "signature")
    refused(hooks, "ses", sns.message(of.SES_BOUNCE, key=key()), "signature")
    refused(hooks, "ses", sns.message(of.SES_BOUNCE, SignatureVersion="3"), "SignatureVersion")
    refused(hooks, "ses", sns.message(of.SES_BOUNCE, version="1", SignatureVersion="2"), "signature")
    assert sns.requests == FETCHED
    for version in ("1", "2"):
        assert hooks.post("ses", sns.message(of.SES_BOUNCE, version=version)).status_code == 200
    assert sns.requests == FETCHED
    assert len(hooks.events()) == 1


@pytest.mark.usefixtures("may_fetch")
@pytest.mark.parametrize("answer", [404, 500, 302, b"not a certificate"])
def test_without_the_certificate_it_is_to_be_sent_again(hooks: Hooks, sns: SnsServer, answer: bytes | int) -> None:
    """503; for some seconds nothing more is fetched, whoever asks. No redirect is followed."""
    path = CERTIFICATE_URL.removeprefix(f"https://{HOST}")
    sns.answers[path] = answer
    for _ in range(3):
        response = hooks.post("ses", sns.message(of.SES_BOUNCE))
        assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    assert sns.requests == FETCHED
    assert hooks.events() == []


@pytest.mark.usefixtures("may_fetch")
def test_amazon_is_slow(hooks: Hooks, sns: SnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 at once, however long it takes: the certificate goes on coming, and is there when the event comes again."""
    monkeypatch.setattr(fetching, "_WAIT", 0.05)
    sns.answering.clear()
    other = sns.message(of.SES_BOUNCE, SigningCertURL=f"https://{HOST}/another.pem")
    for message in (sns.message(of.SES_BOUNCE), sns.message(of.SES_BOUNCE), other):
        assert hooks.post("ses", message).status_code == 503
    sns.answering.set()
    monkeypatch.setattr(fetching, "_WAIT", 30.0)
    assert hooks.post("ses", sns.message(of.SES_BOUNCE)).status_code == 200
    assert sns.requests == FETCHED


@pytest.mark.usefixtures("may_fetch")
def test_a_certificate_that_has_ended(hooks: Hooks, sns: SnsServer) -> None:
    """Is none."""
    sns.answers[CERTIFICATE_URL.removeprefix(f"https://{HOST}")] = certificate(
        sns.key, ends=datetime(2021, 1, 1, tzinfo=UTC)
    )
    refused(hooks, "ses", sns.message(of.SES_BOUNCE), "not valid now")


@pytest.mark.usefixtures("may_fetch")
def test_the_host_must_prove_itself(hooks: Hooks, sns: SnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a certificate of an authority that this machine trusts."""
    monkeypatch.delenv("SSL_CERT_FILE")
    assert hooks.post("ses", sns.message(of.SES_BOUNCE)).status_code == 503
    assert hooks.events() == []
    assert sns.requests == FETCHED[:1]


@pytest.mark.usefixtures("may_fetch")
def test_a_subscription_is_confirmed_once_it_is_ours(hooks: Hooks, sns: SnsServer) -> None:
    """Only for a configured topic, only if SNS signed it, only at SNS."""
    confirm = f"/?Action=ConfirmSubscription&TopicArn={json.loads(sns.confirmation())['TopicArn']}&Token=2336412f37"
    sns.answers[confirm] = b"<ConfirmSubscriptionResponse/>"
    refused(hooks, "ses", sns.confirmation(TopicArn="arn:aws:sns:us-east-1:999999999999:mail"), "its topic")
    assert sns.requests == []
    refused(hooks, "ses", sns.confirmation(key=key()), "signature")
    refused(hooks, "ses", sns.confirmation(SubscribeURL="https://sns.evil.example.org/?x"), "confirm the subscription")
    assert sns.requests == FETCHED
    assert hooks.post("ses", sns.confirmation()).status_code == 200
    assert sns.requests == [*FETCHED, FETCHED[0], f"GET {confirm}"]
    sns.answers[confirm] = 500
    assert hooks.post("ses", sns.confirmation()).status_code == 503


@pytest.mark.usefixtures("may_fetch")
def test_the_end_of_a_subscription_is_only_logged(hooks: Hooks, sns: SnsServer) -> None:
    """Whoever ended it: nothing is asked of SNS."""
    ended = sns.confirmation(Type="UnsubscribeConfirmation")
    assert hooks.post("ses", ended).status_code == 200
    assert sns.requests == FETCHED


@pytest.mark.parametrize("provider", CONTENT)
def test_without_its_setting_a_provider_is_closed(make_hooks: MakeHooks, provider: str) -> None:
    """Whatever it brings."""
    names = [name for name in make_hooks().app.config if name.startswith("OUTBOX_") and name != "OUTBOX_DATABASE_URL"]
    hooks = make_hooks(**dict.fromkeys(names))
    refused(hooks, provider, SIGN[provider](CONTENT[provider]), "is not set", 404)


def test_ses_without_its_setting_is_closed(make_hooks: MakeHooks, sns: SnsServer) -> None:
    """It reads nothing, so that nothing is fetched."""
    refused(make_hooks(OUTBOX_SES_TOPICS=None), "ses", sns.message(of.SES_BOUNCE), "OUTBOX_SES_TOPICS is not set", 404)


@pytest.mark.parametrize("provider", ["sendgrid", "resend"])
def test_one_byte_of_the_body_is_changed(hooks: Hooks, provider: str) -> None:
    """Those whose signature is over the body."""
    request = SIGN[provider](CONTENT[provider])
    changed = Request(request.body.replace(b"@", b"X@", 1), request.headers)
    refused(hooks, provider, changed, "signature")
    spaced = Request(request.body + b" ", request.headers)
    refused(hooks, provider, spaced, "signature")
    refused(hooks, provider, Request(request.body), "signature")


def test_mailgun_another_event_under_a_signature_that_was_seen(hooks: Hooks) -> None:
    """Its signature does not cover the event, so a token counts once."""
    request = mailgun(of.MAILGUN_DELIVERED)
    assert hooks.post("mailgun", request).text == "recorded: 1 of 1\n"
    forged = {**json.loads(request.body), "event-data": of.MAILGUN_BOUNCED}
    assert hooks.post("mailgun", json.dumps(forged).encode()).text == "recorded: 0 of 1\n"
    assert [event.type for event in hooks.events()] == ["delivered"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("token", "another"), ("timestamp", "1529006854"), ("signature", "0" * 64), ("token", "")],
)
def test_mailgun_with_a_wrong_signature(hooks: Hooks, field: str, value: str) -> None:
    """406, the one code after which it does not repeat."""
    body = json.loads(mailgun(of.MAILGUN_BOUNCED).body)
    body["signature"][field] = value
    refused(hooks, "mailgun", json.dumps(body).encode(), "signature", 406)


@pytest.mark.parametrize(
    ("provider", "request_", "status"),
    [
        ("sendgrid", lambda at: sendgrid(of.SENDGRID, at=at - 26 * 3600), 403),
        ("sendgrid", lambda at: sendgrid(of.SENDGRID, at=at + 900), 403),
        ("mailgun", lambda at: mailgun(of.MAILGUN_BOUNCED, at=at - 10 * 3600), 406),
        ("mailgun", lambda at: mailgun(of.MAILGUN_BOUNCED, at=at + 900), 406),
        ("resend", lambda at: resend(of.RESEND_BOUNCED, at=at - 900), 403),
        ("resend", lambda at: resend(of.RESEND_BOUNCED, at=at + 900), 403),
    ],
)
def test_old_or_from_the_future(hooks: Hooks, provider: str, request_: Any, status: int) -> None:
    """Signed longer ago than the provider repeats it, or ahead of our clock."""
    refused(hooks, provider, request_(time.time()), "time stamp", status)


@pytest.mark.parametrize(
    ("provider", "request_"),
    [
        ("sendgrid", lambda at: sendgrid(of.SENDGRID[2:3], at=at - 23 * 3600)),
        ("mailgun", lambda at: mailgun(of.MAILGUN_BOUNCED, at=at - 8 * 3600)),
        ("resend", lambda at: resend(of.RESEND_BOUNCED, at=at - 200)),
        ("resend", lambda at: resend(of.RESEND_BOUNCED, at=at + 200)),
    ],
)
def test_a_late_repetition_is_taken(hooks: Hooks, provider: str, request_: Any) -> None:
    """And so is a clock that differs a little."""
    assert hooks.post(provider, request_(time.time())).status_code == 200
    assert len(hooks.events()) == 1


@pytest.mark.parametrize("provider", ["postmark", "mailjet", "brevo"])
def test_credentials(make_hooks: MakeHooks, provider: str) -> None:
    """401 with a challenge for who brings none; a second pair may be valid beside the first."""
    hooks = make_hooks(**{f"OUTBOX_{provider.upper()}_CREDENTIALS": "old:secret new:er:secret"})
    content = CONTENT[provider]
    answer = hooks.post(provider, Request(basic(content).body))
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="webhook"')
    for user, password in (("old", "wrong"), ("new", "er"), ("", ""), ("älter", "secret"), ("old", "secret ")):
        refused(hooks, provider, basic(content, user=user, password=password), "password is wrong")
    assert hooks.post(provider, basic(content, user="old", password="secret")).status_code == 200
    assert hooks.post(provider, basic(content, user="new", password="er:secret")).status_code == 200
    assert len(hooks.events()) == 1


def test_brevo_by_a_token(make_hooks: MakeHooks) -> None:
    """In place of a user name and password."""
    hooks = make_hooks(OUTBOX_BREVO_CREDENTIALS=None, OUTBOX_BREVO_TOKEN="abc")
    body = basic(of.BREVO_HARD).body
    refused(hooks, "brevo", Request(body, {"Authorization": "Bearer abd"}), "token")
    refused(hooks, "brevo", basic(of.BREVO_HARD), "password is wrong")
    assert hooks.post("brevo", Request(body, {"Authorization": "Bearer abc"})).status_code == 200


@pytest.mark.parametrize("provider", [*CONTENT, "ses"])
def test_a_body_is_limited_before_it_is_verified(hooks: Hooks, provider: str) -> None:
    """By its length, or, sent in chunks, by what is read."""
    big = Request(b"[" + b" " * 2**20 + b"]")
    refused(hooks, provider, big, "too large", 413)
    environ = create_environ(f"{PREFIX}/{provider}", method="POST")
    environ |= {"wsgi.input": _Unread(), "CONTENT_LENGTH": str(2**20 + 1)}
    assert run_wsgi_app(hooks.app, environ)[1] == "413 REQUEST ENTITY TOO LARGE"
    environ = create_environ(f"{PREFIX}/{provider}", method="POST", headers={"Transfer-Encoding": "chunked"})
    environ |= {"wsgi.input": _Endless(), "wsgi.input_terminated": True}
    environ.pop("CONTENT_LENGTH", None)
    _, status, _ = run_wsgi_app(hooks.app, environ)
    assert status == "413 REQUEST ENTITY TOO LARGE"
    assert hooks.events() == []


class _Unread:
    """A body that nobody may read."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("reads it")

    readline = read

    def close(self) -> None: ...


class _Endless:
    """A body without end; it fails where somebody reads on."""

    def __init__(self) -> None:
        self.read_so_far = 0

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size <= 2**21
        self.read_so_far += size
        assert self.read_so_far < 2**22, "reads without a limit"
        return b" " * size

    def readline(self, size: int = -1) -> bytes:
        return self.read(size)

    def close(self) -> None: ...


@pytest.mark.parametrize("provider", ["sendgrid", "postmark", "mailjet", "brevo", "resend"])
def test_what_is_verified_and_not_json(hooks: Hooks, provider: str) -> None:
    """Is not to be repeated: a client's fault, 400. JSON without events has none."""
    for body in (b"", b"{", b"\xff\xfe", b"[" * 200_000):
        refused(hooks, provider, SIGN[provider](body), "not JSON", 400)
    for body in (b"null", b"[]", b"5", b'"x"', b"[[1]]", b"{}"):
        assert hooks.post(provider, SIGN[provider](body)).status_code == 200
    assert hooks.events() == []


def test_get_is_not_answered(hooks: Hooks) -> None:
    """405."""
    for provider in CONTENT:
        assert hooks.app.test_client().get(f"{PREFIX}/{provider}").status_code == 405


@pytest.mark.parametrize("provider", CONTENT)
def test_without_the_database_it_is_to_be_sent_again(make_hooks: MakeHooks, provider: str, tmp_path: Any) -> None:
    """503 where it is away, or not migrated."""
    for url in (f"sqlite:///{tmp_path}/none/at/all.sqlite3", f"sqlite:///{tmp_path}/empty.sqlite3"):
        (tmp_path / "empty.sqlite3").touch()
        answer = make_hooks(OUTBOX_DATABASE_URL=url).post(provider, SIGN[provider](CONTENT[provider]))
        assert (answer.status_code, answer.text) == (503, "not now: send it again\n")


@pytest.mark.parametrize("provider", CONTENT)
def test_the_same_again(hooks: Hooks, provider: str) -> None:
    """Each event is recorded once, however often it comes."""
    request = SIGN[provider](CONTENT[provider])
    first = hooks.post(provider, request).text
    for _ in range(3):
        assert hooks.post(provider, request).text.startswith("recorded: 0 of ")
    assert first == f"recorded: {len(hooks.events())} of {len(hooks.events())}\n"


@pytest.mark.usefixtures("may_fetch")
def test_ses_the_same_again(hooks: Hooks, sns: SnsServer) -> None:
    """A late repetition, or by a clock that is ahead; the same bounce by a notification and by event publishing."""
    assert hooks.post("ses", sns.message(of.SES_BOUNCE)).text == "recorded: 1 of 1\n"
    for sent in (ago(minutes=65), ago(minutes=-4)):
        assert hooks.post("ses", sns.message(of.SES_BOUNCE, Timestamp=sent)).text == "recorded: 0 of 1\n"
    published = {"eventType": "Bounce", **{name: of.SES_BOUNCE[name] for name in ("bounce", "mail")}}
    assert hooks.post("ses", sns.message(published, MessageId="another")).text == "recorded: 0 of 1\n"
