"""`outbox-dkim-key`: a key, its record, and what an operator does wrong."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest

from outbox import Settings
from outbox.message.dkim.keys import read_key
from outbox.message.dkim.record import fault_of, tags_of
from outbox.message.dkim.signer import Signer
from tests.flask.terminal import Terminal
from tests.servers.dkimpy import dkim


@pytest.mark.parametrize(("algorithm", "strings"), [("rsa", 2), ("ed25519", 1)])
def test_the_record_verifies_what_the_key_signs(terminal: Terminal, algorithm: str, strings: int) -> None:
    """The file is its owner's alone; the record, as a zone file has it, is what dkimpy takes."""
    file = terminal.folder / "june.pem"
    done = terminal.here("outbox-dkim-key", "june", str(file), "--type", algorithm, "--domain", "example.org")
    assert (done.returncode, done.stderr) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    zone = done.stdout[done.stdout.index("june._domainkey.example.org. IN TXT") :].split("\n\n")[0]
    words = zone.partition("IN TXT ")[2].replace("\n", " ").replace("( ", "").replace(" )", "")
    record = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, words).strings  # type: ignore[attr-defined]
    assert len(record) == strings
    assert all(len(string) <= 255 for string in record)
    content = b"From: shop@example.org\r\nSubject: x\r\n\r\nhello\r\n"
    key = read_key("june", file.read_bytes())
    signed = Signer("example.org", [key]).fields(content, None) + content
    assert dkim.verify(signed, dnsfunc=lambda name, timeout=5: b"".join(record))
    assert file.read_text() not in done.stdout
    settings = Settings.from_config({"OUTBOX_DKIM_DOMAIN": "example.org", "OUTBOX_DKIM_KEYS": f"june={file}"})
    assert settings.transports[0].dkim is not None
    code, value = terminal.json("outbox-dkim-key", "june", str(file), "--show", "--domain", "example.org")
    assert (code, value["name"], "".join(value["strings"])) == (0, "june._domainkey.example.org", value["value"])
    assert value["value"].encode() == b"".join(record)
    assert fault_of(tags_of(value["value"]), key) is None


def test_a_key_is_never_overwritten(terminal: Terminal) -> None:
    """It says what to do instead."""
    file = terminal.folder / "june.pem"
    file.write_text("kept")
    done = terminal.here("outbox-dkim-key", "june", str(file))
    assert done.returncode == 2
    assert "exists, and is never overwritten" in done.stderr
    assert file.read_text() == "kept"


def test_the_domain_of_the_settings(terminal: Terminal, tmp_path: Path) -> None:
    """Where they are right, and where they name the very key that is to be made."""
    file = tmp_path / "june.pem"
    env = {"OUTBOX_DKIM_DOMAIN": "example.org", "OUTBOX_DKIM_KEYS": f"june={file}"}
    first = terminal.here("outbox-dkim-key", "june", str(file), "--type", "ed25519", env=env)
    assert (first.returncode, first.stderr) == (0, "")
    assert "\njune._domainkey\n" in first.stdout
    second = terminal.here("outbox-dkim-key", "june", str(file), "--show", env=env)
    assert "\njune._domainkey.example.org\n" in second.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-june", "x.pem"), "No such option"),
        (("ju ne", "x.pem"), "SELECTOR has a selector that is not a name in the DNS"),
        (("june", "x.pem", "--domain", "example"), "--domain is 'example', not a domain such as example.org"),
        (("june", "gone/x.pem"), "can't be written: No such file or directory"),
        (("june", "gone.pem", "--show"), "can't be read: No such file or directory"),
    ],
)
def test_what_is_not_possible(terminal: Terminal, words: tuple[str, ...], said: str) -> None:
    """One message, and no file."""
    done = terminal.here("outbox-dkim-key", *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (terminal.folder / "x.pem").exists()


def test_records_that_do_not_verify() -> None:
    """Each says why."""
    from outbox.message.dkim.keys import new_pem

    key = read_key("june", new_pem("ed25519"))
    public = base64.b64encode(key.public).decode()
    found = {
        record: fault_of(tags_of(record), key)
        for record in (
            f"v=DKIM1;k=ed25519 ; p={public[:9]} {public[9:]}",
            "v=DKIM1; k=ed25519; p=",
            f"v=DKIM1; p={public}",
            f"v=DKIM1; k=ed25519; p={public[:-2]}",
            f"v=DKIM1; k=ed25519; p={base64.b64encode(bytes(32)).decode()}",
            f"v=DKIM1; k=ed25519; h=sha1; p={public}",
            f"v=DKIM1; k=ed25519; s=tlsrpt; p={public}",
        )
    }
    assert [*found.values()] == [
        None,
        "is revoked: its p= is empty",
        "is for the algorithm rsa, and the key is ed25519",
        "has a p= that is not base64: a part of it may be missing",
        "has another public key",
        "allows the hash sha1 alone, and signatures have sha256",
        "is for tlsrpt alone, not for mail",
    ]
