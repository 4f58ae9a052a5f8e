"""What every response tells the browser to refuse, and hosts that are refused themselves."""

from __future__ import annotations

from flask import Flask, Response, current_app, request

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def init_app(app: Flask) -> None:
    """Add the headers to every response of `app`; a view that sets one itself has its way."""
    app.before_request(_refuse_other_hosts)
    app.after_request(_add_headers)


def _refuse_other_hosts() -> None:
    """TRUSTED_HOSTS, which Flask itself knows from 3.1 on."""
    request.trusted_hosts = current_app.config["TRUSTED_HOSTS"]
    _ = request.host  # answered with 400 if it is none of them


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response
