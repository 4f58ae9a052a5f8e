"""Pages that show the mail of the local SMTP server. A message is untrusted text: nothing in it runs or loads."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from flask import Flask, Response, abort, render_template, request
from markupsafe import Markup, escape

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


def create_app(mailbox: Mailbox, application_url: str) -> Flask:
    """Makes the pages for `mailbox`, with a link back to the application."""
    app = Flask(__name__)
    app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost"]  # no page elsewhere can read it under a name of its own
    app.jinja_env.filters["linked"] = linked
    app.jinja_env.globals["application_url"] = application_url

    @app.get("/")
    def index() -> str:
        sought = request.args.get("q", "").strip()
        return render_template("index.html", mails=list(mailbox.newest(SHOWN, sought)), shown=SHOWN, sought=sought)

    @app.get("/mail/<name>")
    def mail(name: str) -> str:
        return render_template("mail.html", mail=_get(mailbox, name))

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
        response.headers["Referrer-Policy"] = "no-referrer"
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


def _get(mailbox: Mailbox, name: str) -> Arrived:
    return mailbox.get(name) or abort(404)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mailbox", type=Path, required=True)
    parser.add_argument("--application-url", required=True)
    given = parser.parse_args()
    serve(create_app(Mailbox(given.mailbox), given.application_url), given.port)


if __name__ == "__main__":
    main()
