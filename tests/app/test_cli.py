"""Commands of the application."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from app import models
from outbox.testing import Mailbox
from tests.app.browser import PASSWORD as STRANGERS
from tests.app.browser import Visitor
from tests.app.conftest import ROOT, link_in

PASSWORD = "a good password"


@pytest.fixture(autouse=True)
def _no_password_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLASKY_ADMIN_PASSWORD", raising=False)


def run(app: Flask, *args: str, **more: object) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["create-admin", *args], **more)  # type: ignore[arg-type]
    assert PASSWORD not in result.output
    return result.exit_code, result.output


def test_a_new_administrator_can_log_in(app: Flask, user_of: Callable[[str], models.User]) -> None:
    """The password is asked for twice and not shown; the account is confirmed."""
    code, output = run(app, "Chief@example.org", input=f"{PASSWORD}\n{PASSWORD}\n")
    assert (code, "new account" in output) == (0, True)
    user = user_of("chief")
    assert user.is_admin
    assert user.confirmed
    visitor = Visitor(app.test_client())
    visitor.log_in("chief@example.org", PASSWORD)
    assert visitor.name() == "Chief"


def test_a_user_becomes_administrator_and_keeps_the_password(
    app: Flask, add_user: Callable[..., int], user_of: Callable[[str], models.User]
) -> None:
    """For an account whose address is confirmed nothing is asked; a second time changes nothing."""
    add_user()
    before = user_of("ada").password_hash
    for _ in range(2):
        code, output = run(app, "ADA@example.org")
        assert code == 0
        assert output == "ada@example.org (ada) is an administrator.\n"
    assert user_of("ada").is_admin
    assert user_of("ada").password_hash == before


def test_a_strangers_account_is_taken_from_them(
    app: Flask, user_of: Callable[[str], models.User], mailbox: Mailbox
) -> None:
    """Whoever registered with the address, without owning it, has neither the password nor a session afterwards."""
    stranger = Visitor(app.test_client())
    stranger.register("chief@example.org", "stranger")
    stranger.log_in("chief@example.org")
    stranger.submit("/auth/change-email", email="stranger@evil.example", password=STRANGERS)
    change = link_in(next(mail for mail in mailbox if mail.kind == "change-email"))
    assert stranger.name() == "stranger"
    code, output = run(app, "chief@example.org", input=f"{PASSWORD}\n{PASSWORD}\n")
    assert code == 0
    assert "with a new password, since the address of the account was not confirmed" in output
    user = user_of("stranger")
    assert (user.is_admin, user.confirmed) == (True, True)
    assert user.verify_password(PASSWORD)
    assert stranger.name() is None
    stranger.log_in("chief@example.org")
    assert stranger.name() is None
    chief = Visitor(app.test_client())
    chief.log_in("chief@example.org", PASSWORD)
    assert chief.name() == "stranger"
    assert "no longer valid" in chief.get(change).text


def test_a_strangers_account_is_not_promoted_without_a_password(
    app: Flask, add_user: Callable[..., int], user_of: Callable[[str], models.User]
) -> None:
    """Where no good password is given, nothing changes."""
    add_user(confirmed=False)
    before = user_of("ada")
    for given in ("", "short", "password123"):
        assert run(app, "ada@example.org", "--password-stdin", input=given)[0] == 1
    after = user_of("ada")
    assert (after.is_admin, after.confirmed, after.stamp) == (False, False, before.stamp)


def test_the_password_may_come_from_the_environment_or_standard_input(
    app: Flask, monkeypatch: pytest.MonkeyPatch, user_of: Callable[[str], models.User]
) -> None:
    """For scripts, without a terminal."""
    assert run(app, "one@example.org", "--password-stdin", input=f"{PASSWORD}\n")[0] == 0
    monkeypatch.setenv("FLASKY_ADMIN_PASSWORD", PASSWORD)
    assert run(app, "two@example.org", "--username", "second")[0] == 0
    assert user_of("one").verify_password(PASSWORD)
    assert user_of("second").verify_password(PASSWORD)


def test_a_name_that_is_taken_is_not_given_twice(
    app: Flask, add_user: Callable[..., int], user_of: Callable[[str], models.User]
) -> None:
    """An asked-for name that is taken is a fault; a made-up one gets an ending."""
    add_user("somebody@example.org", "chief")
    code, output = run(app, "chief@example.org", "--username", "Chief", "--password-stdin", input=PASSWORD)
    assert code == 1
    assert "is taken" in output
    code, output = run(app, "chief@example.org", "--password-stdin", input=PASSWORD)
    assert code == 0
    assert "(chief_" in output


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["nonsense"], "EMAIL"),
        (["a@example.org", "--password-stdin"], "8 to 128"),
        (["a@example.org", "--password", "x"], "No such"),
    ],
)
def test_what_is_wrong_is_told(app: Flask, args: list[str], told: str) -> None:
    """Bad addresses, short passwords, and a password on the command line."""
    code, output = run(app, *args, input="short\n")
    assert code != 0
    assert told in output


def manage(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py as people do, from another folder."""
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *args],
        cwd="/",
        env={"PATH": "", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_manage_has_every_command(tmp_path: Path) -> None:
    """The application's, the outbox's and Flask's own."""
    done = manage("--help", SECRET_KEY="x", DATABASE_URL=f"sqlite:///{tmp_path / 'app.sqlite3'}")
    assert done.returncode == 0, done.stderr
    for command in ("create-admin", "run", "outbox-sender", "outbox-status", "outbox-requeue"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize(
    "fault", [{"APP_ENV": "prod"}, {"OUTBOX_TYPO": "1"}, {"MAIL_USE_TLS": "1", "MAIL_USE_SSL": "1"}]
)
def test_manage_tells_faults_without_a_traceback(tmp_path: Path, fault: dict[str, str]) -> None:
    """A wrong setting is named; the exit code is not 0."""
    done = manage("create-admin", "a@example.org", DATABASE_URL=f"sqlite:///{tmp_path / 'app.sqlite3'}", **fault)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert next(iter(fault)) in done.stderr


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql+psycopg://me:secret@127.0.0.1:1/x", "can't be used"),
        ("sqlite:///{folder}/empty.sqlite3", "alembic upgrade head"),
    ],
    ids=["no server", "no tables"],
)
def test_create_admin_without_a_database_is_one_line(tmp_path: Path, address: str, words: str) -> None:
    """It says which database, what to check, and no password."""
    env = {"SECRET_KEY": "x", "FLASKY_ADMIN_PASSWORD": PASSWORD, "DATABASE_URL": address.format(folder=tmp_path)}
    done = manage("create-admin", "a@example.org", **env)
    assert done.returncode == 1
    assert (done.stderr.count("\n"), words in done.stderr, "secret" in done.stderr) == (1, True, False), done.stderr
