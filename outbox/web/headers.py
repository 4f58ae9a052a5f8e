"""What the pages tell the browser to refuse."""

from __future__ import annotations

from flask import Blueprint, Response, request

PAGE = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

MAIL = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
"""For a mail's HTML, which is a document of its own: a `srcdoc` would inherit the page's policy, and either the mail
would lose its inline style or the page would have to allow it."""

MAIL_WITH_REMOTE_IMAGES = MAIL.replace("img-src data:", "img-src data: https: http:")


def install(blueprint: Blueprint) -> None:
    """Set the headers on every response of `blueprint`, refusals included; a view that set one has its way."""
    blueprint.after_request(_add)


def _add(response: Response) -> Response:
    static = (request.endpoint or "").endswith(".static")
    response.headers.setdefault("Content-Security-Policy", PAGE)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("X-Frame-Options", "DENY")
    # not no-referrer: over HTTPS Flask-WTF's CSRFProtect wants the Referer of a form, and browsers send "Origin: null"
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    if not static:
        response.headers["Cache-Control"] = "no-store"
    return response
