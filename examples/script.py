"""A script, for a crontab: no request, no web server; each subscriber gets the newsletter once, however often it runs.

python examples/script.py ann@example.org bob@example.org
flask --app examples/script.py outbox-sender --drain
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from outbox import Message, Outbox, Settings

URL = os.environ.get("DATABASE_URL", "sqlite:///script.sqlite")

mail = Outbox()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="news@example.org", OUTBOX_DATABASE_URL=URL)
    app.config.update(Settings.from_env(os.environ))
    app.config.update(config or {})
    mail.init_app(app)
    return app


def main(subscribers: Sequence[str]) -> int:
    """Enqueue; the number of those that had none yet."""
    engine = create_engine(URL)
    with create_app().app_context(), Session(engine) as session, session.begin():
        items = [
            (Message("News 7", recipients=[email], body="Teapots are back."), {"key": f"news-7-{email}"})
            for email in subscribers
        ]
        queued = mail.enqueue_many(items, session, kind="newsletter", priority="bulk")
    engine.dispose()
    return sum(one.is_new for one in queued)


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1:])} new\n")
