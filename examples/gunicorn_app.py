"""gunicorn, with the application loaded before its workers are forked, and with gevent.

    flask --app examples/gunicorn_app.py outbox-create-tables
    gunicorn --preload --workers 2 examples.gunicorn_app:app
    gunicorn --worker-class gevent --workers 2 examples.gunicorn_app:app
    flask --app examples/gunicorn_app.py outbox-sender

Nothing is opened while the application is loaded: a connection that a fork shares belongs to nobody.
"""

from __future__ import annotations

import os

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy

from outbox import Outbox, Settings

app = Flask(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///gunicorn_app.sqlite"),
    MAIL_DEFAULT_SENDER="shop@example.org",
)
app.config.update(Settings.from_env(os.environ))
db = SQLAlchemy(app)
mail = Outbox(app, session=db)  # was: mail = Mail(app)


@app.post("/")
def order() -> str:
    mail.send_message("Your order", recipients=[request.form["email"]], body="We have it.")
    db.session.commit()
    return f"Thank you, says {os.getpid()}."
