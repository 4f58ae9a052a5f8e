"""Pages that show the mail of the local relays, with buttons for their faults and for what recipients answer.

A message is untrusted text: nothing in it runs or loads.
"""

from __future__ import annotations

import argparse
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from flask import Flask, Response, abort, flash, redirect, render_template, request, url_for
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as BaseResponse

from devserver.answers import LABELS, Answer, Answers, Take, by_command
from devserver.faults import BUTTONS, Fault, Faults
from devserver.mailbox import Arrived, Mailbox
from devserver.serving import serve

SHOWN = 100
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; "
    "form-action 'self'"
)
MAIL_POLICY = (  # links open in a tab of their own; no script, nothing from elsewhere
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
)
_URL = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")


def create_app(
    mailbox: Mailbox,
    application_url: str,
    relays: Mapping[str, int] | None = None,
    faults: Faults | None = None,
    take: Take | None = None,
) -> Flask:
    """Makes the pages for `mailbox`, with a link back to the application.

    `relays`: the ports of those that fill it, by name; `faults`: what they do wrong; `take`: who takes reports on mail.
    """
    relays = {} if faults is None else relays or {}
    answers = None if take is None else Answers(application_url, take)
    app = Flask(__name__)
    app.secret_key = secrets.token_bytes()  # for what is said once, after a button
    app.config["SESSION_COOKIE_NAME"] = "mailbox"  # cookies know no ports: the application's is another
    app.config["SESSION_COOKIE_SAMESITE"] = "Strict"
    app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost"]  # no page elsewhere can read it under a name of its own
    app.jinja_env.filters["linked"] = linked
    app.jinja_env.globals["application_url"] = application_url

    @app.get("/")
    def index() -> str:
        sought = request.args.get("q", "").strip()
        return render_template(
            "index.html",
            mails=list(mailbox.newest(SHOWN, sought)),
            shown=SHOWN,
            sought=sought,
            relays={name: (port, faults.of(name)) for name, port in relays.items()} if faults is not None else {},
            buttons=BUTTONS,
        )

    @app.post("/relays/<name>")
    def fault(name: str) -> BaseResponse:
        _own_form()
        wanted = request.form.get("fault", "")
        if faults is None or name not in relays or wanted not in list(Fault):
            abort(404)
        faults.set(name, Fault(wanted))
        return redirect(url_for("index") + "#relays", 303)

    @app.get("/mail/<name>")
    def mail(name: str) -> str:
        mail = _get(mailbox, name)
        possible = [] if answers is None else answers.possible(mail)
        return render_template("mail.html", mail=mail, answers={one: LABELS[one] for one in possible})

    @app.post("/mail/<name>/answers")
    def answer(name: str) -> BaseResponse:
        _own_form()
        mail, wanted = _get(mailbox, name), request.form.get("answer", "")
        if answers is None or wanted not in answers.possible(mail):
            abort(404)
        flash(answers.give(Answer(wanted), mail))
        return redirect(url_for("mail", name=name) + "#answers", 303)

    @app.get("/mail/<name>/html")
    def html(name: str) -> Response:
        content = _get(mailbox, name).html
        if content is None:
            abort(404)
        response = Response(f'<base target="_blank">{content}', mimetype="text/html")
        response.headers["Content-Security-Policy"] = MAIL_POLICY
        return response

    @app.get("/mail/<name>/raw")
    def raw(name: str) -> Response:
        return Response(_get(mailbox, name).raw, content_type="text/plain; charset=utf-8")

    @app.get("/mail/<name>/attachments/<int:number>")
    def attachment(name: str, number: int) -> Response:
        attachments = _get(mailbox, name).attachments
        if number >= len(attachments):
            abort(404)
        part = attachments[number]
        response = Response(part.get_payload(decode=True), mimetype="application/octet-stream")
        response.headers.set("Content-Disposition", "attachment", filename=part.get_filename("attachment"))
        return response

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"  # with "no-referrer" our own forms come without an Origin
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


def linked(text: str) -> Markup:
    """Returns `text` escaped, with its URLs as links."""
    pieces: list[Markup] = []
    end = 0
    for match in _URL.finditer(text):
        pieces.append(escape(text[end : match.start()]))
        pieces.append(Markup('<a href="{0}" target="_blank" rel="noreferrer">{0}</a>').format(match[0]))
        end = match.end()
    return Markup("").join([*pieces, escape(text[end:])])


def _own_form() -> None:
    if request.headers.get("Origin") != request.host_url.rstrip("/"):
        abort(403)  # the form of another site


def _get(mailbox: Mailbox, name: str) -> Arrived:
    return mailbox.get(name) or abort(404)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mailbox", type=Path, required=True)
    parser.add_argument("--application-url", required=True)
    parser.add_argument("--relay", nargs=2, action="append", metavar=("NAME", "PORT"), required=True)
    parser.add_argument("--faults", type=Path, required=True)
    given = parser.parse_args()
    relays = {name: int(port) for name, port in given.relay}
    faults = Faults(given.faults)
    serve(create_app(Mailbox(given.mailbox), given.application_url, relays, faults, by_command), given.port)


if __name__ == "__main__":
    main()
