"""The settings about DKIM: what they mean, and what is wrong with them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from outbox import Settings
from outbox.core.errors import ConfigurationError
from outbox.message.dkim.keys import ED25519, RSA, new_pem


@cache
def pem(algorithm: str = ED25519, bits: int = 2048) -> str:
    """The same key for all tests that don't say which."""
    return new_pem(algorithm, bits).decode()


@pytest.fixture(name="key")
def _key(tmp_path: Path) -> Path:
    """A key file as it should be."""
    return written(tmp_path / "june.pem", pem())


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    """A file of this mode."""
    path.touch(mode)
    path.write_text(text)
    path.chmod(mode)
    return path


def faults(**config: Any) -> str:
    """What is wrong with it."""
    with pytest.raises(ConfigurationError) as wrong:
        Settings.from_config({f"OUTBOX_{name}": value for name, value in config.items()})
    return "\n".join(wrong.value.faults)


def selectors(settings: Settings) -> list[list[str]]:
    """By transport."""
    return [
        [] if one.dkim is None else [f"{key.selector}:{key.algorithm}" for key in one.dkim.read_keys()]
        for one in settings.transports
    ]


def test_off_by_default() -> None:
    """Nothing is signed, on no transport."""
    urls = {"OUTBOX_TRANSPORT_A_URL": "smtp://127.0.0.1", "OUTBOX_TRANSPORT_B_URL": "smtp://127.0.0.1"}
    assert selectors(Settings.from_config({})) == [[]]
    assert selectors(Settings.from_config({"OUTBOX_TRANSPORTS": "a b", **urls})) == [[], []]


def test_two_keys_in_files(key: Path, tmp_path: Path) -> None:
    """Selectors and paths, separated by blanks."""
    rsa = written(tmp_path / "rsa.pem", pem(RSA))
    settings = Settings.from_config(
        {"OUTBOX_DKIM_DOMAIN": "Example.org.", "OUTBOX_DKIM_KEYS": f"june={rsa}  june-ed={key}"}
    )
    assert settings.transports[0].dkim is not None
    assert settings.transports[0].dkim.domain == "example.org"
    assert selectors(settings) == [["june:rsa", "june-ed:ed25519"]]


@pytest.mark.parametrize(
    "value",
    [
        f"june={pem(RSA)} july={pem()}",
        f"june={pem(RSA)}july={pem()}".replace("\n", "\\n"),  # as a .env file has it
        {"june": pem(RSA), "july": pem()},
    ],
    ids=["text", "as in a .env file", "mapping"],  # the same in each process
)
def test_keys_in_the_environment(value: Any) -> None:
    """The key itself in place of its path; it is in no `repr`."""
    settings = Settings.from_config({"OUTBOX_DKIM_DOMAIN": "example.org", "OUTBOX_DKIM_KEYS": value})
    assert selectors(settings) == [["june:rsa", "july:ed25519"]]
    shown = repr((settings, settings.transports, settings.dkim_keys))
    assert not any(line in shown for line in pem(RSA).splitlines())


def test_a_transport_has_keys_of_its_own(key: Path) -> None:
    """The others stay as they are."""
    settings = Settings.from_config(
        {
            "OUTBOX_TRANSPORTS": "own esp",
            "OUTBOX_TRANSPORT_OWN_URL": "smtp://127.0.0.1",
            "OUTBOX_TRANSPORT_OWN_DKIM_DOMAIN": "münchen.example",
            "OUTBOX_TRANSPORT_OWN_DKIM_KEYS": f"june={key}",
            "OUTBOX_TRANSPORT_ESP_URL": "smtp://127.0.0.1:26",
        }
    )
    assert selectors(settings) == [["june:ed25519"], []]
    assert settings.transports[0].dkim is not None
    assert settings.transports[0].dkim.domain == "xn--mnchen-3ya.example"


def test_half_of_it(key: Path) -> None:
    """One without the other, in its own words for a transport."""
    assert "OUTBOX_DKIM_KEYS is set without OUTBOX_DKIM_DOMAIN" in faults(DKIM_KEYS=f"june={key}")
    assert "OUTBOX_DKIM_DOMAIN is set without OUTBOX_DKIM_KEYS" in faults(DKIM_DOMAIN="example.org")
    ses = "ses+https://AKIA:s@email.eu-west-1.amazonaws.com"
    for url in ("smtp://127.0.0.1", ses):
        said = faults(TRANSPORTS="own", TRANSPORT_OWN_URL=url, TRANSPORT_OWN_DKIM_KEYS=f"june={key}")
        assert "OUTBOX_TRANSPORT_OWN_DKIM_KEYS is set without OUTBOX_TRANSPORT_OWN_DKIM_DOMAIN" in said


def test_for_no_transport(key: Path) -> None:
    """Keys of the MAIL_* settings, by which nothing goes."""
    said = faults(
        TRANSPORTS="own", TRANSPORT_OWN_URL="smtp://127.0.0.1", DKIM_DOMAIN="example.org", DKIM_KEYS=f"june={key}"
    )
    assert "Set OUTBOX_TRANSPORT_OWN_DKIM_DOMAIN, or leave it out." in said
    assert "Set OUTBOX_TRANSPORT_OWN_DKIM_KEYS, or leave it out." in said


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("june", "is not of the form selector=path"),
        ("june=", "is not of the form selector=path"),
        ("june=/a june=/b", "has the selector 'june' twice"),
        ("ju ne=/a", "is not of the form selector=path"),
        ("-june=/a", "not a name in the DNS"),
        ({"june": 7}, "neither a path nor a key"),
        (7, "is of type int"),
    ],
)
def test_keys_that_are_none(keys: Any, words: str) -> None:
    """It says what is expected."""
    assert words in faults(DKIM_DOMAIN="example.org", DKIM_KEYS=keys)


@pytest.mark.parametrize("domain", ["example", "exa mple.org", "https://example.org", "shop@example.org"])
def test_a_domain_that_is_none(domain: str, key: Path) -> None:
    """Likewise."""
    assert "not a domain such as example.org" in faults(DKIM_DOMAIN=domain, DKIM_KEYS=f"june={key}")


def test_files_that_do_not_do(tmp_path: Path) -> None:
    """All are named at once, each with its remedy, and nothing of a key."""
    small = subprocess.run(["openssl", "genrsa", "512"], capture_output=True, text=True, check=True).stdout
    keys = {
        "gone": tmp_path / "gone.pem",
        "open": written(tmp_path / "open.pem", pem(), 0o644),
        "small": written(tmp_path / "small.pem", small),
        "folder": tmp_path,
    }
    tmp_path.chmod(0o700)
    said = faults(DKIM_DOMAIN="example.org", DKIM_KEYS=" ".join(f"{name}={path}" for name, path in keys.items()))
    assert f"'{tmp_path}/gone.pem' of the selector 'gone' does not exist. Make one with `outbox-dkim-key gone" in said
    assert f"(mode 0644). Run `chmod 600 {tmp_path}/open.pem`" in said
    assert "selector 'small' has 512 bits" in said
    assert f"'{tmp_path}' of the selector 'folder' does not exist" in said
    assert not any(line in said for text in (pem(), small) for line in text.splitlines()[1:-1])


def test_what_is_advised_against(tmp_path: Path) -> None:
    """A small RSA key, Ed25519 alone, and Amazon SES, which breaks the signature."""
    settings = Settings.from_config({"OUTBOX_DKIM_DOMAIN": "example.org", "OUTBOX_DKIM_KEYS": {"june": pem(RSA, 1024)}})
    assert settings.transports[0].dkim is not None
    assert "RSA key of 1024 bits: 2048 are advised" in " ".join(settings.transports[0].dkim.remarks("generic"))
    settings = Settings.from_config({"OUTBOX_DKIM_DOMAIN": "example.org", "OUTBOX_DKIM_KEYS": {"june": pem()}})
    assert settings.transports[0].dkim is not None
    said = " ".join(settings.transports[0].dkim.remarks("ses"))
    assert "add an RSA key" in said
    assert "SES replaces Date and Message-ID" in said
    both = Settings.from_config({"OUTBOX_DKIM_DOMAIN": "a.org", "OUTBOX_DKIM_KEYS": {"june": pem(), "r": pem(RSA)}})
    assert both.transports[0].dkim is not None
    assert [*both.transports[0].dkim.remarks("generic")] == []
