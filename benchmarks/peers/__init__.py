"""What others do with the same mail, sink and PostgreSQL: Flask-Mail, django-mailer, django-post_office."""

from __future__ import annotations

import importlib.util
import json
import sys

from benchmarks import bare, stats
from benchmarks.ground import Ground
from benchmarks.process import Process
from benchmarks.sink import Unavailable
from tests.servers.databases import Database

DIRECT = "Flask-Mail in the request"
POST_OFFICE = "django-post_office, 2 processes, batches of 1,000"
_DJANGO = {  # package: (its name, mails of one drain for each 8,000 of ours)
    "mailer": ("django-mailer", 400),
    "post_office": (POST_OFFICE, 2000),
}
_DIRECT = 250


def peers(ground: Ground) -> None:
    """Drain and enqueueing of each, beside the bare loop. Their queues are filled through their own interfaces."""
    before = bare.rate(ground.sink, ground.size.bare)
    for _ in range(ground.size.fewer):
        before = _flask_mail(ground, _some(ground, _DIRECT), before)
    if importlib.util.find_spec("django") is None:
        raise Unavailable("django-mailer and django-post_office: install the extra bench, or run `make bench`")
    for package, (name, mails) in _DJANGO.items():
        for _ in range(ground.size.fewer):
            with ground.databases.empty("postgresql") as database:
                before = _django(ground, database, package, name, _some(ground, mails), before)


def _some(ground: Ground, mails: int) -> int:
    return max(mails * ground.size.mails // 8000, 20)


def _flask_mail(ground: Ground, count: int, before: float) -> float:
    """`mail.send` in the request: its enqueueing is its sending. Gives the rate of the bare loop after it."""
    environ = {"MAIL_PORT": str(ground.sink.port)}
    rate, memory = _drained(ground, ["benchmarks.peers.direct", str(count)], environ, count)
    return _keep(ground, DIRECT, count, before, rate=rate, enqueue=rate, memory=memory)


def _django(ground: Ground, database: Database, package: str, name: str, count: int, before: float) -> float:
    """Enqueue, then send. Gives the rate of the bare loop after it."""
    environ = django_environ(ground, database, package)
    enqueued = float(_run(ground, ["benchmarks.peers.site", "enqueue", str(count)], environ).last_words().split()[-1])
    rate, memory = _drained(ground, ["benchmarks.peers.site", "send"], environ, count)
    return _keep(ground, name, count, before, rate=rate, enqueue=enqueued, memory=memory)


def django_environ(ground: Ground, database: Database, package: str) -> dict[str, str]:
    """What `benchmarks.peers.site` finds in its environment."""
    site = {
        "package": package,
        "database": database.address.translate_connect_args(
            username="USER", password="PASSWORD", database="NAME", host="HOST", port="PORT"
        ),
        "smtp_port": ground.sink.port,
        "folder": str(ground.folder),
    }
    # Django verifies against the system's store
    return {"SITE": json.dumps(site), "SSL_CERT_FILE": str(ground.sink.ca_file)}


def _drained(ground: Ground, arguments: list[str], environ: dict[str, str], count: int) -> tuple[float, float]:
    """Mails a second, MB."""
    ground.sink.reset()
    process = _run(ground, arguments, environ)
    accepted = ground.sink.accepted()
    if len(accepted) != count:
        raise RuntimeError(f"{len(accepted)} of {count} mails accepted: {process.last_words()}")
    return stats.rate([one.at for one in accepted]), process.stop().memory


def _run(ground: Ground, arguments: list[str], environ: dict[str, str]) -> Process:
    process = Process([sys.executable, "-m", *arguments], environ, ground.folder / "peer.log")
    process.wait()
    return process


def _keep(ground: Ground, name: str, count: int, before: float, *, rate: float, **more: float) -> float:
    after = bare.rate(ground.sink, ground.size.bare)
    ratio = rate / ((before + after) / 2)
    ground.keep("peers", name, ratio=ratio, rate=rate, bare=[before, after], mails=count, **more)
    return after
