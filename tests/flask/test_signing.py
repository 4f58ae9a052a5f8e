"""The example of docs/signing.md, run as it stands: OpenSSL verifies what a recipient gets."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime
from email import message_from_bytes
from email.policy import default as policy
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from outbox import Outbox, operations
from tests.flask.conftest import Committed

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "signing.md"
Db = scoped_session[Session]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the example finds its key and certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop@example.org")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2090, 1, 1))  # noqa: DTZ001
    certificate = builder.public_key(key.public_key()).sign(key, hashes.SHA256())
    (tmp_path / "shop.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # of a test
    )
    (tmp_path / "shop.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def verified(wire: bytes, folder: Path) -> bytes:
    """What OpenSSL finds signed. Fails where the signature doesn't fit."""
    (folder / "mail.eml").write_bytes(wire)
    command = "openssl cms -verify -in mail.eml -CAfile shop.crt -purpose any"
    done = subprocess.run(command.split(), cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("context")
def test_the_example_signs(folder: Path, outbox: Outbox, db: Db, committed: Committed) -> None:
    """Text, HTML and an attachment, as they are sent; and the same bytes given as they are."""
    names: dict[str, Any] = {"mail": outbox}
    exec(blocks()[0], names)
    message = names["SignedMessage"]("Grüße", ["ann@example.org"], body="Hellö", html="<p>Hellö</p>")
    message.attach("a.pdf", "application/pdf", b"%PDF" * 5000)
    outbox.send(message)
    db.commit()
    [stored] = committed.messages()
    with committed.engine.connect() as connection:
        wire = operations.wire(connection, stored.id)
    signed: Any = message_from_bytes(verified(wire, folder), policy=policy)
    assert [part.get_content() for part in signed.iter_attachments()] == [b"%PDF" * 5000]
    assert message_from_bytes(wire, policy=policy)["Subject"] == "Grüße"
    with pytest.raises(AssertionError):
        verified(wire.replace(b"Hell", b"Hall"), folder)

    names["content"] = wire
    exec(blocks()[1], names)
    db.commit()
    with committed.engine.connect() as connection:
        again = operations.wire(connection, committed.messages()[1].id)
    assert again == wire


@pytest.mark.usefixtures("context")
def test_bytes_can_be_enqueued_by_all_ways(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """`enqueue`, `enqueue_many`, a connection, and what other packages call."""
    names: dict[str, Any] = {"mail": outbox, "content": b"From: shop@example.org\r\nTo: a@example.org\r\n\r\nb\r\n"}
    exec(blocks()[1], names)
    raw = names["RawMessage"]
    outbox.enqueue(raw(names["content"]), key="1")
    outbox.enqueue_many([raw(names["content"])])
    outbox.connect().send(raw(names["content"]))
    app.extensions["mail"].send(raw(names["content"]))
    db.commit()
    ids = [message.message_id for message in committed.messages()]
    assert len(set(ids)) == 5
    with committed.engine.connect() as connection:
        for message in committed.messages():
            wire = operations.wire(connection, message.id)
            assert wire.endswith(names["content"])
            assert message_from_bytes(wire)["Message-ID"] == message.message_id
