"""The settings by which providers' requests are verified: several values each, faults without the secret."""

from __future__ import annotations

import base64

import pytest

from outbox.core.errors import ConfigurationError
from outbox.settings import Settings

TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
KEY = base64.b64encode(bytes(91)).decode()
SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes, or").decode()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OUTBOX_SES_TOPICS", "my-topic", "arn:aws:sns:eu-west-1:123456789012:mail"),
        ("OUTBOX_SES_TOPICS", f"{TOPIC},{TOPIC}", "not the ARN of a topic"),
        ("OUTBOX_SENDGRID_PUBLIC_KEY", "hunter2", "not a verification key of SendGrid"),
        ("OUTBOX_SENDGRID_PUBLIC_KEY", base64.b64encode(b"hunter2").decode(), "not a verification key of SendGrid"),
        ("OUTBOX_POSTMARK_CREDENTIALS", "hunter2", "not of the form user:password"),
        ("OUTBOX_MAILJET_CREDENTIALS", ":hunter2", "not of the form user:password"),
        ("OUTBOX_BREVO_CREDENTIALS", "hunter2:", "not of the form user:password"),
        ("OUTBOX_RESEND_SIGNING_SECRET", "hunter2", "begins with whsec_"),
        ("OUTBOX_RESEND_SIGNING_SECRET", "whsec_hunter2", "begins with whsec_"),
    ],
)
def test_faults(name: str, value: str, words: str) -> None:
    """Each says what is expected; none shows a secret."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_config({name: value})
    assert name in str(raised.value)
    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_several_of_each() -> None:
    """Separated by blanks, or a list; a key also as PEM."""
    pem = f"-----BEGIN PUBLIC KEY-----\n{KEY[:64]}\n{KEY[64:]}\n-----END PUBLIC KEY-----\n"
    settings = Settings.from_config(
        {
            "OUTBOX_SES_TOPICS": f"{TOPIC} {TOPIC}-2",
            "OUTBOX_SENDGRID_PUBLIC_KEY": pem * 2,
            "OUTBOX_POSTMARK_CREDENTIALS": ["a:hunter2", "b:x:y"],
            "OUTBOX_RESEND_SIGNING_SECRET": f" {SECRET}\t{SECRET} ",
            "OUTBOX_MAILGUN_SIGNING_KEY": "",
        }
    )
    assert settings.ses_topics == (TOPIC, f"{TOPIC}-2")
    assert settings.sendgrid_public_keys == (KEY, KEY)
    assert settings.postmark_credentials == ("a:hunter2", "b:x:y")
    assert settings.resend_signing_secrets == (SECRET, SECRET)
    assert settings.mailgun_signing_keys == ()
    assert "hunter2" not in repr(settings)
    assert SECRET not in repr(settings)
