"""The application of the stories: nothing but an outbox, configured by the environment as a deployment is.

DATABASE_URL=… MAIL_SERVER=… python -m flask --app tests.story.worker_app outbox-sender
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask

from outbox import Outbox
from outbox.settings import Settings
from tests.story import faults


def create_app(environ: Mapping[str, str] | None = None, session: Any = None) -> Flask:
    """An application with an outbox on DATABASE_URL."""
    environ = os.environ if environ is None else environ
    app = Flask(__name__)
    app.config.update(Settings.from_env(environ))
    if "DATABASE_URL" in environ:
        app.config["OUTBOX_DATABASE_URL"] = environ["DATABASE_URL"]
    Outbox().init_app(app, session=session)
    faults.commit(environ)
    return app
