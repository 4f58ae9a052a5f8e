"""The settings of `make run`'s processes: folders, ports and environment."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from app.config import with_dotenv
from devserver import HOST

ROOT = Path(__file__).resolve().parent.parent
ADMIN = "admin@example.com"

BOUNCE_DOMAIN = "bounces.example.com"
"""Of envelope senders. No mail server has it: the buttons of the local mail server hand reports over."""

MAIN, BACKUP = "main", "backup"
"""The local relays, the preferred one first: transports with these names."""

REAL_RELAYS = ("MAIL_SERVER", "MAIL_HOSTNAME", "OUTBOX_TRANSPORTS")  # one set: mail goes there, not to the local relays
NO_LOG_IN = {"MAIL_USERNAME": "", "MAIL_PASSWORD": "", "MAIL_USE_SSL": ""}


@dataclass(frozen=True)
class Settings:
    """Folders and ports. `relays` is empty when a real one is configured."""

    instance: Path
    web_port: int
    mailbox_port: int
    relays: dict[str, int]  # the ports of the local relays, by name
    given: dict[str, str]  # the caller's environment on top of .env; blank means unset

    @property
    def folder(self) -> Path:
        """The development server's own folder: certificates, the administrator's password."""
        return self.instance / "devserver"

    @property
    def mailbox(self) -> Path:
        """The folder of the messages that the local relays took, one .eml file each."""
        return self.instance / "mailbox"

    @property
    def faults(self) -> Path:
        """The folder that says what each local relay does wrong."""
        return self.folder / "faults"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The file with the local relays' key and certificate."""
        return self.folder / "smtp.pem"

    @property
    def admin(self) -> str:
        return self.given.get("FLASKY_ADMIN") or ADMIN

    @property
    def admin_password(self) -> str:
        """The administrator's first password; the same at every start."""
        return kept_secret(self.folder / "admin_password", octets=12)

    @property
    def web_url(self) -> str:
        return f"http://{HOST}:{self.web_port}"

    @property
    def mailbox_url(self) -> str:
        return f"http://{HOST}:{self.mailbox_port}"

    def environment(self) -> dict[str, str]:
        """The environment of application, worker and migrations; variables that the caller has set are kept."""
        environment = {**self.given, "PYTHONUNBUFFERED": "1"}
        defaults = {
            "APP_ENV": "development",
            "DATABASE_URL": f"sqlite:///{self.instance / 'app.sqlite3'}",
            "FLASKY_ADMIN": self.admin,
            "FLASKY_BASE_URL": self.web_url,
            "SECRET_KEY": kept_secret(self.instance / "secret_key"),  # where the application itself would keep it
        }
        environment |= {name: value for name, value in defaults.items() if not environment.get(name)}
        if self.relays:
            environment |= NO_LOG_IN
            environment |= {
                "OUTBOX_TRANSPORTS": " ".join(self.relays),
                "OUTBOX_TLS_CA_FILE": str(self.ca_file),
                "FLASKY_MAILBOX_URL": self.mailbox_url,
                "OUTBOX_BOUNCE_DOMAIN": BOUNCE_DOMAIN,
                "OUTBOX_UNSUBSCRIBE_URL": f"{self.web_url}/unsubscribe",
            }
            for name, port in self.relays.items():
                environment[f"OUTBOX_TRANSPORT_{name.upper()}_URL"] = (
                    f"smtp+starttls://{HOST}:{port}?bounce_sender=message"
                )
        return environment


def read(
    instance: Path,
    web_port: int | None,
    mailbox_port: int | None,
    smtp_port: int | None,
    backup_port: int | None = None,
) -> Settings:
    """Reads the settings from the environment and `.env`. Port None: the usual one, or any if it is taken; 0: any."""
    given = with_dotenv(ROOT / ".env")
    ports = (
        {} if any(given.get(name) for name in REAL_RELAYS) else {MAIN: (smtp_port, 2525), BACKUP: (backup_port, 2526)}
    )
    taken: list[socket.socket] = []  # held until all are chosen, so that none is chosen twice
    try:
        return Settings(
            instance=instance.resolve(),
            web_port=_port(web_port, 5000, taken),
            mailbox_port=_port(mailbox_port, 5001, taken),
            relays={name: _port(wanted, usual, taken) for name, (wanted, usual) in ports.items()},
            given=given,
        )
    finally:
        for held in taken:
            held.close()


def kept_secret(path: Path, octets: int = 32) -> str:
    """Returns the secret in the file `path`; the first call makes the file, readable by its owner alone."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    secret = secrets.token_urlsafe(octets)
    with os.fdopen(file, "w") as stream:
        stream.write(secret)
    return secret


def _port(wanted: int | None, usual: int, taken: list[socket.socket]) -> int:
    for port in [wanted] if wanted is not None else [usual, 0]:
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port whose last connections linger is free
        taken.append(held)
        try:
            held.bind((HOST, port))
            held.listen()
        except OSError:
            continue
        number: int = held.getsockname()[1]
        return number
    raise SystemExit(f"Port {wanted} of {HOST} is taken. Choose another one.")
