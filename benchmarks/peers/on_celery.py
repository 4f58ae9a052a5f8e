"""The usual task: Flask-Mail in Celery's workers, a connection for each mail. It verifies no certificate.

MAIL_PORT=… BROKER_URL=… celery -A benchmarks.peers.on_celery worker
"""

from __future__ import annotations

import os

import celery
import flask
import flask_mail

flask_app = flask.Flask(__name__)
flask_app.config.update(MAIL_SERVER="localhost", MAIL_PORT=int(os.environ["MAIL_PORT"]), MAIL_USE_TLS=True)
mail = flask_mail.Mail(flask_app)
celery_app = celery.Celery("peer", broker=os.environ["BROKER_URL"])


@celery_app.task(name="send", ignore_result=True)  # type: ignore[untyped-decorator]
def send(subject: str, sender: str, recipients: list[str], body: str, html: str) -> None:
    """Send it."""
    with flask_app.app_context():
        mail.send(flask_mail.Message(subject, sender=sender, recipients=recipients, body=body, html=html))
