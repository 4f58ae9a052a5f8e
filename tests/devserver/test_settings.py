"""What the processes of `make run` are told."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

import outbox
from devserver import settings
from outbox.settings.relay import Security

OURS = (
    "MAIL_SERVER",
    "MAIL_HOSTNAME",
    "OUTBOX_TRANSPORTS",
    "MAIL_USERNAME",
    "DATABASE_URL",
    "FLASKY_ADMIN",
    "SECRET_KEY",
)


@pytest.fixture(autouse=True)
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the caller, no .env."""
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    for name in OURS:
        monkeypatch.delenv(name, raising=False)


def test_without_a_relay_mail_goes_to_the_local_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over verified TLS, without a log-in, even if there is one for another server; the second one is the fallback."""
    monkeypatch.setenv("MAIL_USERNAME", "left over")
    told = settings.read(tmp_path, 0, 0, 0)
    told.folder.mkdir()
    told.ca_file.touch()
    environment = told.environment()
    config = {**outbox.Settings.from_env(environment), "SECRET_KEY": environment["SECRET_KEY"]}
    main, backup = outbox.Settings.from_config(config).transports
    assert [(one.name, one.host, one.port) for one in (main, backup)] == [
        (name, "127.0.0.1", told.relays[name]) for name in ("main", "backup")
    ]
    assert {one.security for one in (main, backup)} == {Security.STARTTLS}
    assert {(one.ca_file, one.username) for one in (main, backup)} == {(told.ca_file, None)}


@pytest.mark.parametrize("name", ["MAIL_SERVER", "MAIL_HOSTNAME"])
def test_a_relay_of_ones_own_is_left_alone(tmp_path: Path, name: str) -> None:
    """With a relay in .env there is no local server, and what .env says of it stays."""
    (tmp_path / ".env").write_text(f"{name}=smtp.example.com\nMAIL_PORT=587\nMAIL_USERNAME=ada\n")
    told = settings.read(tmp_path, 0, 0, None)
    environment = told.environment()
    assert told.relays == {}
    assert (environment[name], environment["MAIL_PORT"], environment["MAIL_USERNAME"]) == (
        "smtp.example.com",
        "587",
        "ada",
    )
    assert "OUTBOX_TLS_CA_FILE" not in environment


def test_transports_of_ones_own_are_left_alone(tmp_path: Path) -> None:
    """As a relay is."""
    (tmp_path / ".env").write_text("OUTBOX_TRANSPORTS=ses\n")
    told = settings.read(tmp_path, 0, 0, None)
    assert told.relays == {}
    assert told.environment()["OUTBOX_TRANSPORTS"] == "ses"


def test_what_the_caller_has_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Database, administrator and key of the environment go before the defaults, and the environment before .env."""
    (tmp_path / ".env").write_text("MAIL_SERVER=smtp.example.com\nDATABASE_URL=sqlite:////elsewhere\nSECRET_KEY=kept\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://host/db")
    monkeypatch.setenv("FLASKY_ADMIN", "ada@example.com")
    monkeypatch.setenv("MAIL_SERVER", "")
    environment = settings.read(tmp_path, 0, 0, 0).environment()
    assert environment["OUTBOX_TRANSPORTS"] == "main backup"
    assert environment["DATABASE_URL"] == "postgresql://host/db"
    assert environment["FLASKY_ADMIN"] == "ada@example.com"
    assert environment["SECRET_KEY"] == "kept"


def test_secrets_are_kept_and_for_their_owner_alone(tmp_path: Path) -> None:
    """A second start has the same key and the same password."""
    first, second = settings.read(tmp_path, 0, 0, 0), settings.read(tmp_path, 0, 0, 0)
    first.folder.mkdir()
    assert first.admin_password == second.admin_password
    assert first.environment()["SECRET_KEY"] == second.environment()["SECRET_KEY"]
    for path in (first.folder / "admin_password", tmp_path / "secret_key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """One that was asked for is an error; the usual ones give way; no two servers get the same."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit, match="is taken"):
        settings.read(tmp_path, taken.getsockname()[1], 0, 0)
    told = settings.read(tmp_path, None, None, None)
    assert len({told.web_port, told.mailbox_port, *told.relays.values()}) == 4
