"""An application as a web server loads it: a message for each POST to `/`, in the session's own transaction."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy

import outbox.web
from outbox import Message, Outbox
from outbox.settings import Settings
from tests.story.handlers_app import register


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """An application with Flask-SQLAlchemy on DATABASE_URL."""
    environ = os.environ if environ is None else environ
    app = Flask(__name__)
    app.config.update(Settings.from_env(environ), SQLALCHEMY_DATABASE_URI=environ["DATABASE_URL"])
    app.testing = "SERVED_TESTING" in environ
    db = SQLAlchemy(app)
    mail = Outbox()
    register(mail, environ)
    mail.init_app(app, session=db)
    app.register_blueprint(outbox.web.events_blueprint(), url_prefix="/hooks")
    if "SERVED_START" in environ:
        mail.start(app)

    @app.get("/")
    def show() -> str:
        return f"{os.getpid()}"

    @app.get("/threads")
    def threads() -> str:
        return " ".join(sorted(thread.name for thread in threading.enumerate()))

    @app.post("/")
    def order() -> tuple[str, dict[str, str]]:
        ids = []
        for number in range(int(request.args.get("count", 1))):
            message = Message(f"Mail {number}", recipients=[f"r{number}@example.org"], body="Text\n")
            ids.append(mail.enqueue(message).message_id)
        if "rollback" in request.args:
            db.session.rollback()
        else:
            db.session.commit()
        return " ".join(ids), {"X-Committed-At": str(time.time())}

    @app.cli.command("forks")
    def forks() -> None:
        """A command that has a child."""
        if (pid := os.fork()) == 0:
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        print(" ".join(sorted(thread.name for thread in threading.enumerate())))

    return app


app = create_app() if "DATABASE_URL" in os.environ else None
