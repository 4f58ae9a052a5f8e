"""Settings: from the environment, closed by default."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from app.config import ROOT, SettingsError, check, database_url, load, secret_key, with_dotenv


def test_nothing_configured_is_a_file_under_instance() -> None:
    """Without settings the database is instance/app.sqlite3, and mail comes from FLASKY_MAIL_SENDER."""
    settings = load({})
    assert settings["DATABASE_URL"] == f"sqlite:///{ROOT}/instance/app.sqlite3"
    assert settings["MAIL_DEFAULT_SENDER"] == settings["FLASKY_MAIL_SENDER"]
    assert settings["SECRET_KEY"] is None


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "off", " FALSE "])
def test_false_means_false(word: str) -> None:
    """The string "false" is not true."""
    assert load({"SESSION_COOKIE_SECURE": word})["SESSION_COOKIE_SECURE"] is False


def test_mail_and_outbox_settings_are_handed_on() -> None:
    """MAIL_* and OUTBOX_* reach the package, save what is the command's or the tests' own."""
    settings = load(
        {
            "MAIL_SERVER": "mail.example.org",
            "MAIL_PORT": "587",
            "MAIL_PASSWORD": "",
            "OUTBOX_CONNECTIONS": "8",
            "FLASKY_ADMIN_PASSWORD": "x",
            "OUTBOX_TEST_MARIADB_URL": "y",
            "PATH": "z",
        }
    )
    assert settings["MAIL_PORT"] == "587"
    assert settings["OUTBOX_CONNECTIONS"] == "8"
    assert not settings.keys() & {"MAIL_PASSWORD", "FLASKY_ADMIN_PASSWORD", "OUTBOX_TEST_MARIADB_URL", "PATH"}


def test_all_faults_are_told_at_once() -> None:
    """Each wrong setting is named."""
    with pytest.raises(SettingsError) as told:
        load(
            {
                "APP_ENV": "prod",
                "SESSION_COOKIE_SECURE": "maybe",
                "FLASKY_BASE_URL": "www",
                "FLASKY_PROXIES": "-1",
                "DATABASE_URL": "secret@nowhere",
            }
        )
    assert len(told.value.faults) == 5
    for name in ("APP_ENV", "SESSION_COOKIE_SECURE", "FLASKY_BASE_URL", "FLASKY_PROXIES", "DATABASE_URL"):
        assert name in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("given", ["shop", "Shop <shop@>", "shop@example.org, b@example.org"])
def test_a_sender_that_is_no_address_is_a_fault(given: str) -> None:
    """Told at start and under its own name, once."""
    with pytest.raises(SettingsError) as told:
        load({"FLASKY_MAIL_SENDER": given})
    (fault,) = told.value.faults
    assert fault.startswith("FLASKY_MAIL_SENDER: is ")
    assert load({"FLASKY_MAIL_SENDER": "Shop <shop@example.org>"})["FLASKY_MAIL_SENDER"] == "Shop <shop@example.org>"


@pytest.mark.parametrize(
    "given", ["ada", "ada@example.org; bob@example.org", "ada@example.org,", "Team: ada@example.org;"]
)
def test_administrators_that_are_not_addresses_are_a_fault_at_start(given: str) -> None:
    """Or the registration of a user would fail for the sake of the news about it."""
    with pytest.raises(SettingsError) as caught:
        load({"FLASKY_ADMIN": given})
    (fault,) = caught.value.faults
    assert fault.startswith("FLASKY_ADMIN: ")
    assert load({"FLASKY_ADMIN": "ada@example.org, Bob <bob@example.org>"})["FLASKY_ADMIN"].count("@") == 2


PASSWORD = "S3cret${x}%40$y${x:-z}"


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    """A file with a password that holds what python-dotenv takes for variables, quoted in each way."""
    path = tmp_path / ".env"
    path.write_text(
        f"MAIL_PASSWORD={PASSWORD}\nFLASKY_NAME='{PASSWORD}'\nSECRET_KEY=\"{PASSWORD}\"\nMAIL_USERNAME=shop\nMAIL_PORT\n"
    )
    return path


def test_values_of_the_file_are_taken_literally(dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `${...}` in them is replaced; the environment goes over them."""
    monkeypatch.setenv("MAIL_USERNAME", "ann")
    monkeypatch.setenv("MAIL_PORT", "25")
    given = with_dotenv(dotenv)
    assert [given[name] for name in ("MAIL_PASSWORD", "FLASKY_NAME", "SECRET_KEY")] == [PASSWORD] * 3
    assert (given["MAIL_USERNAME"], given["MAIL_PORT"]) == ("ann", "25")
    monkeypatch.setenv("MAIL_PASSWORD", "${other}")
    assert with_dotenv(dotenv)["MAIL_PASSWORD"] == "${other}"
    assert with_dotenv(dotenv.parent / "none")["MAIL_USERNAME"] == "ann"


@pytest.mark.parametrize("command", [["manage.py"], ["-m", "flask", "--app", "app"]], ids=["manage.py", "flask"])
def test_every_command_has_the_values_of_the_file(command: list[str], dotenv: Path) -> None:
    """The `flask` command puts the file into the environment first, with its `${...}` replaced."""
    project = dotenv.parent
    for name in ("app", "outbox", "templates"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", project)
    done = subprocess.run(
        [sys.executable, *command, "shell"],
        cwd=project,
        env={"PATH": os.environ.get("PATH", os.defpath), "OUTBOX_ALLOW_PLAINTEXT": "true", "PYTHONPATH": str(project)},
        input="print(*(app.config[name] for name in ('MAIL_PASSWORD', 'FLASKY_NAME', 'SECRET_KEY')))\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert " ".join([PASSWORD] * 3) in done.stdout, done.stderr


def test_production_guesses_nothing() -> None:
    """In production the key and the site's address must be given."""
    with pytest.raises(SettingsError) as told:
        check(load({"APP_ENV": "production"}))
    assert len(told.value.faults) == 2
    check(load({"APP_ENV": "production", "SECRET_KEY": "k", "FLASKY_BASE_URL": "https://www.example.org"}))


@pytest.mark.parametrize(
    ("given", "secure"),
    [
        ({}, True),
        ({"APP_ENV": "production", "FLASKY_BASE_URL": "https://www.example.org"}, True),
        ({"APP_ENV": "development"}, False),
        ({"APP_ENV": "development", "SESSION_COOKIE_SECURE": True}, True),
        ({"SESSION_COOKIE_SECURE": False}, False),
        ({"DEBUG": True}, False),
    ],
)
def test_cookies_are_secure_unless_it_is_a_local_run(
    make_app: Callable[..., Flask], given: dict[str, object], secure: bool
) -> None:
    """Only an explicit local run has cookies that go over plain http."""
    assert make_app(**given).config["SESSION_COOKIE_SECURE"] is secure


def test_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """Sessions survive a restart, and nobody else can read the key."""
    path = tmp_path / "instance" / "secret_key"
    key = secret_key(path)
    assert len(key) == 64
    assert secret_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_made_once_by_many_processes(tmp_path: Path) -> None:
    """The web application and the worker start at the same time and get the same key."""
    code = (
        "import sys; from pathlib import Path; from app.config import secret_key; print(secret_key(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "secret_key")]
    children = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    keys = {child.communicate(timeout=60)[0].strip() for child in children}
    assert len(keys) == 1
    assert keys == {(tmp_path / "secret_key").read_text()}


def test_a_key_that_cannot_be_kept_is_a_fault(tmp_path: Path) -> None:
    """Where no file can be made, SECRET_KEY must be set."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="SECRET_KEY is not set"):
        secret_key(tmp_path / "file" / "secret_key")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p%40@h/d", "postgresql+psycopg://u:p%40@h/d"),
        ("postgresql://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("mysql://h/d", "mysql+pymysql://h/d"),
        ("mariadb://h/d?charset=utf8mb4", "mariadb+pymysql://h/d?charset=utf8mb4"),
        ("sqlite:////var/lib/app.sqlite3", "sqlite:////var/lib/app.sqlite3"),
        ("sqlite:///instance/app.sqlite3", f"sqlite:///{ROOT}/instance/app.sqlite3"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
    ],
)
def test_database_urls_name_the_drivers_that_are_installed(given: str, used: str) -> None:
    """URLs as hosters write them work; a relative SQLite file is the same from every folder."""
    assert database_url(given) == used
