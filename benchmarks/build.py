"""What it costs to build a mail: ours against Flask-Mail's `as_bytes()`, in one run.

    python -m benchmarks.build [--repeat N]

Prints microseconds (best and median of the repetitions) and the ratio, for a mail of 2 KB text and HTML and for some
others. The aim is 150 µs for the first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import flask
import flask_mail

from benchmarks import mails
from outbox.extension.draft import draft_of
from outbox.message.compose import compose, new_unique

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def messages() -> dict[str, flask_mail.Message]:
    """The mails to build, by name. Must run inside an application context."""
    plain, page = mails.TEXT, mails.PAGE
    pdf = flask_mail.Attachment("Übersicht.pdf", "application/pdf", b"%PDF-1.7" * 6400)
    people = {"sender": ("The Shop", "shop@example.com"), "recipients": [("Ann", "ann@example.org")]}
    return {
        "2 KB text + HTML": flask_mail.Message("Your order", body=plain, html=page, **people),
        "the same, not ASCII": flask_mail.Message("Grüße, 日本語", body=plain + "é", html=page + "é", **people),
        "1 KB text": flask_mail.Message("Your order", body=plain, **people),
        "1 KB HTML alone": flask_mail.Message("Your order", html=page, **people),
        "with a PDF of 51 KB": flask_mail.Message("Your order", body=plain, html=page, attachments=[pdf], **people),
    }


def ours(message: flask_mail.Message) -> None:
    """Compose as `enqueue` does, one fresh random value included."""
    compose(draft_of(message), default_sender=None, now=NOW, max_bytes=25 << 20, unique=new_unique())


def theirs(message: flask_mail.Message) -> None:
    """Compose as Flask-Mail does."""
    message.as_bytes()


def application() -> flask.Flask:
    """One with Flask-Mail."""
    app = flask.Flask(__name__)
    flask_mail.Mail(app)
    return app


def timed(build: Callable[[flask_mail.Message], object], message: flask_mail.Message, repeat: int) -> list[float]:
    """Microseconds for one build, `repeat` times the mean of a tenth of a second."""
    build(message)
    found = []
    for _ in range(repeat):
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < 0.1:
            build(message)
            count += 1
        found.append(elapsed / count * 1e6)
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=10, metavar="N", help="repetitions of 0.1 s each (10)")
    repeat = parser.parse_args().repeat
    print(f"{'µs a mail':<22}{'ours: best':>12}{'median':>10}{'Flask-Mail: best':>19}{'median':>10}{'ratio':>8}")
    with application().app_context():
        for name, message in messages().items():
            our, their = timed(ours, message, repeat), timed(theirs, message, repeat)
            best = (
                f"{min(our):>12.0f}{statistics.median(our):>10.0f}{min(their):>19.0f}{statistics.median(their):>10.0f}"
            )
            print(f"{name:<22}{best}{statistics.median(their) / statistics.median(our):>8.1f}")


if __name__ == "__main__":
    main()
