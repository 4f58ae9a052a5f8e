"""A Django site whose mail goes through django-mailer or django-post_office.

    SITE='{"package": "mailer", "database": {…}, "smtp_port": …, "folder": …}' python -m benchmarks.peers.site COMMAND

COMMAND is `enqueue N`, which makes the tables and says how many mails a second it wrote, each in a transaction of its
own; `turns`, which makes them and does the same for each N on a line of its input; or `send`. SSL_CERT_FILE names the
certificate to trust.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import django
import pymysql
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.management import call_command

from benchmarks import mails

_BACKENDS = {"mailer": "mailer.backend.DbBackend", "post_office": "post_office.EmailBackend"}


def main() -> None:
    """Do as the command says."""
    site = json.loads(os.environ["SITE"])
    _configure(site)
    if sys.argv[1] == "enqueue":
        call_command("migrate", verbosity=0)
        count = int(sys.argv[2])
        print(count / _enqueue(count)[0])
    elif sys.argv[1] == "turns":
        call_command("migrate", verbosity=0)
        for line in sys.stdin:
            print(*_enqueue(int(line)), flush=True)
    elif site["package"] == "mailer":
        call_command("send_mail")
    else:
        call_command("send_queued_mail", processes=2, lockfile=str(Path(site["folder"]) / "post_office"), log_level=1)


def _configure(site: dict[str, object]) -> None:
    package = str(site["package"])
    database = {"ENGINE": "django.db.backends.postgresql", **dict(site["database"])}  # type: ignore[call-overload]
    if database["ENGINE"].endswith("mysql"):
        pymysql.version_info = (2, 2, 1, "final", 0)  # Django looks for that of mysqlclient
        pymysql.install_as_MySQLdb()
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", package],
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        EMAIL_BACKEND=_BACKENDS[package],
        EMAIL_HOST="localhost",
        EMAIL_PORT=site["smtp_port"],
        EMAIL_USE_TLS=True,
        MAILER_LOCK_PATH=str(Path(str(site["folder"])) / "mailer"),
        POST_OFFICE={"BATCH_SIZE": 1000, "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"}},
        USE_TZ=True,
    )
    django.setup()


def _enqueue(count: int) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    start, cpu = time.perf_counter(), time.process_time()
    for number in range(count):
        mail = EmailMultiAlternatives(f"Order {number}", mails.TEXT, mails.SENDER, [mails.RECIPIENT])
        mail.attach_alternative(mails.PAGE, "text/html")
        mail.send()
    return time.perf_counter() - start, time.process_time() - cpu


if __name__ == "__main__":
    main()
