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

_DJANGO = {  # package: (its name, mails of one drain for each 8,000 of ours)
    "mailer": ("django-mailer", 1000),
    "post_office": ("django-post_office, 2 processes, batches of 1,000", 4000),
}
_DIRECT = 500


def peers(ground: Ground) -> None:
    """Drain and enqueueing of each, beside the bare loop. Their queues are filled through their own interfaces."""
    for _ in range(ground.size.repetitions):
        _flask_mail(ground, max(_DIRECT * ground.size.mails // 8000, 20))
    if importlib.util.find_spec("django") is None:
        raise Unavailable("django-mailer and django-post_office: install the extra bench, or run `make bench`")
    for package, (name, mails) in _DJANGO.items():
        for _ in range(ground.size.repetitions):
            with ground.databases.empty("postgresql") as database:
                _django(ground, database, package, name, max(mails * ground.size.mails // 8000, 20))


def _flask_mail(ground: Ground, count: int) -> None:
    """`mail.send` in the request: its enqueueing is its sending."""
    environ = {"MAIL_PORT": str(ground.sink.port)}
    rate, memory, before, after = _drained(ground, ["benchmarks.peers.direct", str(count)], environ, count)
    ground.keep(
        "peers",
        "Flask-Mail in the request",
        ratio=rate / ((before + after) / 2),
        rate=rate,
        bare=[before, after],
        mails=count,
        enqueue=rate,
        memory=memory,
    )


def _django(ground: Ground, database: Database, package: str, name: str, count: int) -> None:
    environ = {
        "SITE": json.dumps(
            {
                "package": package,
                "database": database.address.translate_connect_args(
                    username="USER", password="PASSWORD", database="NAME", host="HOST", port="PORT"
                ),
                "smtp_port": ground.sink.port,
                "folder": str(ground.folder),
            }
        ),
        "SSL_CERT_FILE": str(ground.sink.ca_file),  # Django verifies against the system's store
    }
    said = _run(ground, ["benchmarks.peers.site", "enqueue", str(count)], environ)
    rate, memory, before, after = _drained(ground, ["benchmarks.peers.site", "send"], environ, count)
    ground.keep(
        "peers",
        name,
        ratio=rate / ((before + after) / 2),
        rate=rate,
        bare=[before, after],
        mails=count,
        enqueue=float(said),
        memory=memory,
    )


def _drained(
    ground: Ground, arguments: list[str], environ: dict[str, str], count: int
) -> tuple[float, float, float, float]:
    """Mails a second, MB, and the bare loop before and after."""
    before = bare.rate(ground.sink, ground.size.bare)
    ground.sink.reset()
    process = Process([sys.executable, "-m", *arguments], environ, ground.folder / "peer.log")
    process.wait()
    cost = process.stop()
    accepted = ground.sink.accepted()
    if len(accepted) != count:
        raise RuntimeError(f"{len(accepted)} of {count} mails accepted: {process.last_words()}")
    return stats.rate([one.at for one in accepted]), cost.memory, before, bare.rate(ground.sink, ground.size.bare)


def _run(ground: Ground, arguments: list[str], environ: dict[str, str]) -> str:
    process = Process([sys.executable, "-m", *arguments], environ, ground.folder / "peer.log")
    process.wait()
    process.stop()
    return process.last_words().splitlines()[-1]
