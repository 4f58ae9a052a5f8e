"""`make run`: the application, one worker and a local mail server, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from devserver import certificates
from devserver.settings import ROOT, Settings, read
from devserver.supervisor import Supervisor, python


def main() -> int:
    """Returns 0 after Ctrl-C or SIGTERM, 1 when something failed."""
    settings = _settings()
    for folder in (settings.instance, settings.folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # mail and keys: for their owner alone
    supervisor = Supervisor(settings.environment(), ROOT)
    try:
        if _prepare(supervisor, settings) and _start(supervisor, settings):
            _tell(settings)
            supervisor.wait()
    finally:
        code = supervisor.stop()
    print("Stopped." if code == 0 else "Stopped, because something failed: see above.", flush=True)
    return code


def _settings() -> Settings:
    parser = argparse.ArgumentParser(prog="python -m devserver", description=__doc__)
    parser.add_argument("--instance", type=Path, default=ROOT / "instance", help="folder of database, mail and keys")
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("PORT") or None,
        help="of the application (default: PORT of the environment, else 5000, or any that is free; 0: any)",
    )
    parser.add_argument("--mailbox-port", type=int, help="of the pages that show the mail (default: 5001)")
    parser.add_argument("--smtp-port", type=int, help="of the local SMTP server (default: 2525)")
    given = parser.parse_args()
    return read(given.instance, given.port, given.mailbox_port, given.smtp_port)


def _prepare(supervisor: Supervisor, settings: Settings) -> bool:
    if settings.smtp_port is not None:
        certificates.ensure(settings.ca_file, settings.certificate)
    return supervisor.run("migrate", python("-m", "alembic", "upgrade", "head")) and supervisor.run(
        "admin",
        python("manage.py", "create-admin", settings.admin),
        {"FLASKY_ADMIN_PASSWORD": settings.admin_password},
    )


def _start(supervisor: Supervisor, settings: Settings) -> bool:
    """Starts the worker last: it is stopped first, and still needs the SMTP server while it stops."""
    if settings.smtp_port is not None and not (
        supervisor.start(
            "smtp",
            python(
                *("-m", "devserver.smtp", "--port", settings.smtp_port),
                *("--certificate", settings.certificate, "--mailbox", settings.mailbox),
            ),
            settings.smtp_port,
        )
        and supervisor.start(
            "mailbox",
            python(
                *("-m", "devserver.pages", "--port", settings.mailbox_port, "--mailbox", settings.mailbox),
                *("--application-url", settings.web_url),
            ),
            settings.mailbox_port,
        )
    ):
        return False
    return supervisor.start(
        "web", python("-m", "devserver.web", "--port", settings.web_port), settings.web_port
    ) and supervisor.start("worker", python("manage.py", "outbox-sender"))


def _tell(settings: Settings) -> None:
    relay = f"{settings.given.get('MAIL_SERVER') or settings.given.get('MAIL_HOSTNAME')} (a real relay: mail leaves)"
    lines = [
        ("Application", f"{settings.web_url}/"),
        ("Mail that arrived", f"{settings.mailbox_url}/" if settings.smtp_port is not None else relay),
        ("Outbox", f"{settings.web_url}/admin/outbox"),
        ("Administrator", f"{settings.admin}, password {settings.admin_password} (unless you changed it)"),
    ]
    print("\n" + "\n".join(f"  {what:<18} {where}" for what, where in lines) + "\n\n  Ctrl-C stops it.\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
