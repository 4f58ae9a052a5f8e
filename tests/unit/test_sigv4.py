"""AWS Signature Version 4, by the vectors that AWS published ("aws-sig-v4-test-suite")."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from outbox.smtp.http.sigv4 import Credentials, signed

NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
KEY = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
HOST = {"Host": "example.amazonaws.com"}
FORM = {**HOST, "Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "headers", "body", "names", "signature"),
    [
        ("GET", HOST, b"", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", HOST, b"", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "POST",
            FORM,
            b"Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
    ids=["get-vanilla", "post-vanilla", "post-x-www-form-urlencoded"],
)
def test_the_published_vectors(method: str, headers: dict[str, str], body: bytes, names: str, signature: str) -> None:
    found = signed(method, "/", headers, body, credentials=KEY, region="us-east-1", service="service", now=NOW)
    assert found["X-Amz-Date"] == "20150830T123600Z"
    assert found["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def test_a_session_token_is_signed_and_not_shown() -> None:
    key = Credentials("AKIDEXAMPLE", "hidden-secret", "hidden-token")
    found = signed("GET", "/", HOST, b"", credentials=key, region="us-east-1", service="ses", now=NOW)
    assert found["X-Amz-Security-Token"] == "hidden-token"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in found["Authorization"]
    assert "hidden" not in repr(key) + found["Authorization"]
