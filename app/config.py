"""The application's settings: from the environment or a `.env` beside manage.py, never from the source.

app/README.md says what each means. `load()` is pure but for reading `.env`; all faults are reported at once.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from dotenv import dotenv_values

from outbox import Settings, split_addresses
from outbox.core.errors import ConfigurationError, MessageError

ROOT = Path(__file__).resolve().parent.parent
INSTANCE = ROOT / "instance"

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}


class SettingsError(RuntimeError):
    """Faults of the settings, all at once."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("The application is not configured correctly:\n" + "\n".join(f"  - {f}" for f in faults))


def boolean(text: str) -> bool:
    """`true` or `false` in the words people use; ValueError for any other."""
    word = text.strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"{text!r} is negative")
    return number


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _environment(text: str) -> str:
    if text not in {"development", "production"}:
        raise ValueError(f"{text!r} is neither development nor production")
    return text


def _sender(text: str) -> str:
    try:
        Settings.from_config({"MAIL_DEFAULT_SENDER": text})
    except ConfigurationError as error:
        raise ValueError(error.faults[0].removeprefix("MAIL_DEFAULT_SENDER ").rstrip(".")) from None
    return text


def _addresses(text: str) -> str:
    try:
        split_addresses(text, "FLASKY_ADMIN")
    except MessageError as error:
        raise ValueError(f"{error.problem}. {error.remedy}".rstrip(".")) from None
    return text


def _base_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
        raise ValueError(f"{text!r} is not a URL such as https://www.example.org")
    return text.rstrip("/")


def _database_url(text: str) -> str:
    try:
        sa.make_url(text).get_dialect()
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ValueError):  # not told on: it may hold a password
        raise ValueError("is not a database URL: use one such as postgresql://user:password@host/name") from None
    return text


def database_url(text: str, root: Path = ROOT) -> str:
    """`text` with the driver that this project installs; a relative SQLite file is taken from `root`."""
    given = url = sa.make_url(text)
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    name = url.database
    if url.get_backend_name() == "sqlite" and name and name != ":memory:" and not name.startswith("file:"):
        url = url.set(database=str(root / name))
    return text if url == given else url.render_as_string(hide_password=False)


_SETTINGS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "APP_ENV": (_environment, None),
    "SECRET_KEY": (str, None),
    "SECRET_KEY_FALLBACKS": (_names, None),
    "DATABASE_URL": (_database_url, None),
    "SESSION_COOKIE_SECURE": (boolean, None),
    "PERMANENT_SESSION_LIFETIME": (_count, 12 * 3600),
    "TRUSTED_HOSTS": (_names, None),
    "FLASKY_NAME": (str, "Flasky"),
    "FLASKY_ADMIN": (_addresses, None),
    "FLASKY_MAIL_SENDER": (_sender, "Flasky <flasky@example.com>"),
    "FLASKY_MAIL_SUBJECT_PREFIX": (str, "[Flasky]"),
    "FLASKY_BASE_URL": (_base_url, None),
    "FLASKY_MAILBOX_URL": (_base_url, None),
    "FLASKY_PROXIES": (_count, 0),
    "FLASKY_CONFIRM_SECONDS": (_count, 3 * 24 * 3600),
    "FLASKY_RESET_SECONDS": (_count, 3600),
    "FLASKY_CHANGE_EMAIL_SECONDS": (_count, 24 * 3600),
}


def load(environ: Mapping[str, str] | None = None, *, instance: Path = INSTANCE) -> dict[str, Any]:
    """The settings in `environ`, or else in the process's environment on top of `.env`; defaults for the rest.

    Empty values count as unset. Raises SettingsError.
    """
    found = with_dotenv(ROOT / ".env") if environ is None else environ
    given = {name: text for name, text in found.items() if text.strip()}
    faults: list[str] = []
    settings: dict[str, Any] = dict(Settings.from_env(found))  # which knows settings that must not be blank
    for name, (parse, default) in _SETTINGS.items():
        settings[name] = default
        if name in given:
            try:
                settings[name] = parse(given[name])
            except ValueError as error:
                faults.append(f"{name}: {error}.")
    if faults:
        raise SettingsError(faults)
    settings["DATABASE_URL"] = settings["DATABASE_URL"] or f"sqlite:///{instance / 'app.sqlite3'}"
    settings.setdefault("MAIL_DEFAULT_SENDER", settings["FLASKY_MAIL_SENDER"])
    return settings


def with_dotenv(path: Path) -> dict[str, str]:
    """The process's environment on top of the file `path`, whose values are taken literally: no `${...}` is replaced.

    The `flask` command reads the same file first and does replace them, which changes a password with `${` in it; what
    it has put into the environment is told by being just that.
    """
    literal = {name: text or "" for name, text in dotenv_values(path, interpolate=False).items()}
    replaced = dotenv_values(path)
    given = {name: text for name, text in os.environ.items() if name not in literal or text != replaced[name]}
    return {**literal, **given}


def check(config: Mapping[str, Any]) -> None:
    """What production needs and must not be guessed. Raises SettingsError."""
    faults = []
    if config["APP_ENV"] == "production":
        if not config["SECRET_KEY"]:
            faults.append(
                "SECRET_KEY is not set. Make one with `python -c 'import secrets; print(secrets.token_hex(32))'` and "
                "give it to every process of the application."
            )
        if not config["FLASKY_BASE_URL"]:
            faults.append(
                "FLASKY_BASE_URL is not set. Links in mail are built from it (https://www.example.org), since the Host "
                "header of a request can be forged."
            )
    if faults:
        raise SettingsError(faults)


def secret_key(path: Path) -> str:
    """The key in the file `path`, which is made at the first call, readable by its owner alone.

    Raises SettingsError when the file can neither be read nor made.
    """
    if path.is_file():
        return _read_key(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if path.is_file():  # by another process, just now
            return _read_key(path)
        raise SettingsError(
            [f"SECRET_KEY is not set and {path} cannot be written ({error.strerror}). Set SECRET_KEY."]
        ) from error
    key = secrets.token_hex(32)
    with os.fdopen(file, "w") as stream:
        stream.write(key)
    return key


def _read_key(path: Path) -> str:
    for _ in range(100):
        key = path.read_text().strip()
        if key:
            return key
        time.sleep(0.01)  # another process has just made the file and is about to write it
    raise SettingsError([f"{path} is empty. Delete it, or set SECRET_KEY."])
