"""What is signed, told by another implementation: dkimpy verifies it, until a byte that counts is changed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outbox.message.dkim.canonical import taken_apart
from outbox.message.dkim.keys import ED25519, RSA, DkimKey, new_pem, read_key
from outbox.message.dkim.signer import SIGNED, Signer, Turn
from tests.servers.dkimpy import dkim

AT = datetime(2026, 11, 27, 10, tzinfo=UTC)
MESSAGE = (
    b"From: Shop <shop@example.org>\r\nTo: ann@example.net\r\nSubject:  Your\r\n  order\r\n"
    b"Date: Fri, 27 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nX-Other: 1\r\n\r\n"
    b"Hello  \t Ann,\r\n.\r\n..\r\nbye \r\n\r\n\r\n"
)


@cache
def key(algorithm: str, selector: str | None = None, bits: int = 1024) -> DkimKey:
    """One for all tests: to make an RSA key takes long."""
    return read_key(selector or algorithm, new_pem(algorithm, bits))


def verified(whole: bytes, *keys: DkimKey) -> list[bool]:
    """What dkimpy says of each signature, from the first on."""
    records = {
        f"{one.selector}._domainkey.example.org.": b"v=DKIM1; k=%s; p=%s"
        % (one.algorithm.encode(), base64.b64encode(one.public))
        for one in keys
    }

    def verify(number: int) -> bool:
        try:
            return bool(dkim.DKIM(whole).verify(number, dnsfunc=lambda name, timeout=5: records[name.decode()]))
        except dkim.DKIMException:
            return False

    return [verify(number) for number in range(whole.partition(b"\r\n\r\n")[0].lower().count(b"dkim-signature:"))]


@pytest.fixture(name="signed", scope="module")
def _signed() -> bytes:
    fields = Signer("example.org", [key(RSA), key(ED25519)]).fields(MESSAGE, AT)
    return fields + MESSAGE


def test_both_signatures_are_verified(signed: bytes) -> None:
    """RSA and Ed25519, relaxed/relaxed, with the message's own time, and no line is longer than 78 characters."""
    assert verified(signed, key(RSA), key(ED25519)) == [True, True]
    head = signed.removesuffix(MESSAGE)
    assert head.count(b"c=relaxed/relaxed;") == head.count(f"t={int(AT.timestamp())};".encode()) == 2
    assert b" l=" not in head
    assert b" x=" not in head
    assert max(map(len, head.split(b"\r\n"))) <= 78


@pytest.mark.parametrize("name", SIGNED)
def test_a_field_that_is_added_breaks_it(signed: bytes, name: str) -> None:
    """Before or behind those that there are, and where there is none."""
    added = f"{name.title()}: mallory@example.com\r\n".encode()
    head, _, body = signed.partition(b"\r\n\r\n")
    for whole in (added + signed, head + b"\r\n" + added + b"\r\n" + body):
        assert verified(whole, key(RSA), key(ED25519)) == [False, False]


def test_what_is_not_signed_may_be_added(signed: bytes) -> None:
    """A hop's Received, folds and white space."""
    whole = b"Received: by hop\r\n" + signed.replace(b"Subject:  Your\r\n  order", b"subject: Your   order  ")
    assert verified(whole.replace(b"Hello  \t Ann,", b"Hello Ann,\t"), key(RSA), key(ED25519)) == [True, True]


@pytest.mark.parametrize("change", [(b"Ann,", b"Ann."), (b"order", b"0rder"), (b"..\r\n", b".\r\n")])
def test_what_is_changed_breaks_it(signed: bytes, change: tuple[bytes, bytes]) -> None:
    """In the body, and in a field that is signed."""
    assert verified(signed.replace(*change), key(RSA), key(ED25519)) == [False, False]


LINES = st.lists(st.sampled_from([b"", b" ", b"\t", b"a", b".", b"a  b", b"a\t \tb ", b"  c", b"\xc3\xa4 ", b"x" * 76]))


@given(LINES, st.booleans(), st.lists(st.integers(1, 9), max_size=30))
@settings(max_examples=300, deadline=None)
def test_the_canonical_body(lines: list[bytes], ended: bool, cuts: list[int]) -> None:
    """As dkimpy's, however it is cut in pieces."""
    body = b"\r\n".join(lines) + (b"\r\n" if ended else b"")
    sent = body if body.endswith(b"\r\n") or not body else body + b"\r\n"  # the final dot is on a line of its own
    content = b"Subject: x\r\nFrom: a@example.org\r\n\r\n" + body
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(content[at : at + cut])
        at += cut
    pieces.append(content[at:])
    expected = (
        {b"from": [b"from:a@example.org"]},
        hashlib.sha256(dkim.canonicalization.Relaxed.canonicalize_body(sent)).digest(),
    )
    assert taken_apart(content, {b"from"}) == taken_apart(pieces, {b"from"}) == expected


@pytest.mark.parametrize(
    "content", [b"From: a@example.org\r\n\r\n", b"From: a@example.org\r\n", b"From: a@example.org"]
)
def test_a_header_alone(content: bytes) -> None:
    """Without a body, and without the blank line before it."""
    fields = Signer("example.org", [key(RSA)]).fields(content, None)
    assert Signer("example.org", [key(RSA)]).fields([content], None) == fields
    assert verified(fields + b"From: a@example.org\r\n\r\n", key(RSA)) == [True]


def test_a_field_that_occurs_twice() -> None:
    """The last goes first (RFC 6376 §5.4.2)."""
    content = b"From: a@example.org\r\nList-Id: <a.example.org>\r\nTo: x@y.org\r\nlist-id: <b.example.org>\r\n\r\nx\r\n"
    fields = Signer("example.org", [key(RSA)]).fields(content, None)
    assert fields.replace(b"\r\n ", b"").count(b"list-id:") == 3
    assert verified(fields + content, key(RSA)) == [True]


def test_the_bytes_are_the_same_each_time() -> None:
    """Another process with the same key would make the same."""
    signers = [Signer("example.org", [key(RSA), key(ED25519)]) for _ in range(2)]
    assert len({signer.fields(MESSAGE, AT) for signer in signers for _ in range(3)}) == 1


OLD, NEW, ED = "old", "new", "ed"


@pytest.mark.parametrize(
    ("created", "selectors"),
    [
        (AT - timedelta(days=9), (OLD, ED)),  # before anything was signed
        (AT - timedelta(hours=1), (OLD, ED)),
        (AT, (NEW, ED)),
        (AT + timedelta(days=1), (NEW, ED)),
    ],
)
def test_a_message_keeps_its_selector(created: datetime, selectors: tuple[str, str]) -> None:
    """That whose turn it was when it was created, one of each kind."""
    turns = {RSA: [Turn(OLD, AT - timedelta(days=3)), Turn(NEW, AT)], ED25519: [Turn(ED, AT)]}
    signer = Signer("example.org", [key(RSA, NEW), key(RSA, OLD), key(ED25519, ED)], turns)
    assert _selectors(signer.fields(MESSAGE, created)) == selectors
    without = Signer("example.org", [key(RSA, NEW), key(ED25519, ED)], turns)
    assert _selectors(without.fields(MESSAGE, created)) == (NEW, ED)


def _selectors(fields: bytes) -> tuple[str, ...]:
    return tuple(part.partition(b";")[0].decode() for part in fields.split(b" s=")[1:])


def _openssl(*words: str) -> Callable[[], bytes]:
    import subprocess

    return lambda: subprocess.run(["openssl", *words], capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_openssl("genrsa", "512"), "has 512 bits"),
        (_openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "neither RSA nor Ed25519"),
        (_openssl("genrsa", "-aes128", "-passout", "pass:secret", "1024"), "encrypted with a passphrase"),
        (lambda: b"nothing of the kind", "not a private key in PEM form"),
        (lambda: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key in PEM form"),
    ],
)
def test_a_key_that_does_not_do(make: Callable[[], bytes], words: str) -> None:
    """It is refused, with what to do, and without a word of it."""
    pem = make()
    with pytest.raises(ValueError, match=words) as refused:
        read_key("june", pem)
    assert "AAAA" not in str(refused.value)
    assert not any(line in str(refused.value) for line in pem.decode().splitlines()[1:-1] if line)


def test_a_key_in_openssls_own_form() -> None:
    """PKCS #1, as older tools write it."""
    assert read_key("june", _openssl("genrsa", "-traditional", "1024")()).bits == 1024


def test_nothing_secret_in_a_repr() -> None:
    """Of key and signer."""
    pem = new_pem(ED25519)
    secret = pem.decode().splitlines()[1]
    made = read_key("june", pem)
    shown = repr((made, Signer("example.org", [made])))
    assert "june" in shown
    assert secret not in shown
