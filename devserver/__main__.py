"""`make run`: the application, one worker and two local relays, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from devserver import certificates
from devserver.faults import Fault, Faults
from devserver.settings import REAL_RELAYS, ROOT, Settings, read
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
    parser.add_argument("--smtp-port", type=int, help="of the local relay (default: 2525)")
    parser.add_argument("--backup-port", type=int, help="of the second local relay (default: 2526)")
    given = parser.parse_args()
    return read(given.instance, given.port, given.mailbox_port, given.smtp_port, given.backup_port)


def _prepare(supervisor: Supervisor, settings: Settings) -> bool:
    if settings.relays:
        certificates.ensure(settings.ca_file, settings.certificate)
    for name in settings.relays:
        Faults(settings.faults).set(name, Fault.NONE)  # a new start is without the faults of the last one
    return supervisor.run("migrate", python("-m", "alembic", "upgrade", "head")) and supervisor.run(
        "admin",
        python("manage.py", "create-admin", settings.admin),
        {"FLASKY_ADMIN_PASSWORD": settings.admin_password},
    )


def _start(supervisor: Supervisor, settings: Settings) -> bool:
    """Starts the worker last: it is stopped first, and still needs the relays while it stops."""
    if settings.relays and not _start_relays(supervisor, settings):
        return False
    return supervisor.start(
        "web", python("-m", "devserver.web", "--port", settings.web_port), settings.web_port
    ) and supervisor.start("worker", python("manage.py", "outbox-sender"))


def _start_relays(supervisor: Supervisor, settings: Settings) -> bool:
    for name, port in settings.relays.items():
        relay = python(
            *("-m", "devserver.smtp", "--name", name, "--port", port, "--certificate", settings.certificate),
            *("--mailbox", settings.mailbox, "--faults", settings.faults),
        )
        if not supervisor.start(name, relay, port):
            return False
    pages = python(
        *("-m", "devserver.pages", "--port", settings.mailbox_port, "--application-url", settings.web_url),
        *("--mailbox", settings.mailbox, "--faults", settings.faults),
        *(word for name, port in settings.relays.items() for word in ("--relay", name, port)),
    )
    return supervisor.start("mailbox", pages, settings.mailbox_port)


def _tell(settings: Settings) -> None:
    real = next(filter(None, map(settings.given.get, REAL_RELAYS)), "")
    lines = [
        ("Application", f"{settings.web_url}/"),
        ("Mail that arrived", f"{settings.mailbox_url}/" if settings.relays else f"{real} (a real relay: mail leaves)"),
        ("Outbox", f"{settings.web_url}/admin/outbox"),
        ("Previews of mail", f"{settings.web_url}/admin/previews/"),
        ("Administrator", f"{settings.admin}, password {settings.admin_password} (unless you changed it)"),
    ]
    print("\n" + "\n".join(f"  {what:<18} {where}" for what, where in lines) + "\n\n  Ctrl-C stops it.\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
