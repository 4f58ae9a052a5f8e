"""Flask-Mail as a view uses it: a connection for each mail. It verifies no certificate.

MAIL_PORT=… python -m benchmarks.peers.direct MAILS
"""

from __future__ import annotations

import os
import sys

import flask
import flask_mail

from benchmarks import mails


def main() -> None:
    """Send."""
    app = flask.Flask(__name__)
    app.config.update(MAIL_SERVER="localhost", MAIL_PORT=int(os.environ["MAIL_PORT"]), MAIL_USE_TLS=True)
    mail = flask_mail.Mail(app)
    with app.app_context():
        for number in range(int(sys.argv[1])):
            mail.send(mails.message(number))


if __name__ == "__main__":
    main()
