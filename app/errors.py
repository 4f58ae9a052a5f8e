"""Pages for what goes wrong."""

from __future__ import annotations

import sqlalchemy as sa
from flask import Flask, Response, current_app, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, SecurityError

from outbox import SchemaError

MIGRATE = "The database has not been migrated. Run: python -m alembic upgrade head"

_TITLES = {
    400: ("The request could not be understood", "Please go back and try again."),
    403: ("Access denied", "Log in with an account that has access to this page."),
    404: ("Page not found", "Check the address for typing errors. The page may also have moved."),
    405: ("Not possible on this page", "Please use the buttons on the page."),
    413: ("Too much data", "What you sent is larger than this site accepts."),
    429: ("Too many attempts", "Please wait a while before you try again."),
    500: ("Something went wrong", "The error is ours and has been logged. Nothing was saved. Please try again later."),
    503: ("Temporarily unavailable", "Please try again later."),
}


def init_app(app: Flask) -> None:
    """Give `app` its error pages."""
    app.register_error_handler(SecurityError, _untrusted_host)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(SchemaError, _unmigrated)
    app.register_error_handler(sa.exc.OperationalError, _database)
    app.register_error_handler(sa.exc.ProgrammingError, _database)


def lacks_tables(engine: sa.Engine) -> bool:
    """Whether the application's tables are missing."""
    return not sa.inspect(engine).has_table("users")


def _page(code: int, text: str | None = None) -> tuple[str, int]:
    title, usual = _TITLES.get(code, _TITLES[500 if code >= 500 else 400])
    return render_template("error.html", code=code, title=title, text=text or usual), code


def _http(error: HTTPException) -> Response | tuple[str, int]:
    code = error.code or 500
    if code < 400:
        return error.get_response()  # type: ignore[return-value]
    own_words = error.description if type(error).description != error.description else None
    page, code = _page(code, own_words)
    response = current_app.make_response((page, code))
    response.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
    return response


def _csrf(error: CSRFError) -> tuple[str, int]:
    if request.scheme == "http" and current_app.config["SESSION_COOKIE_SECURE"]:
        return _page(400, "Sessions need https here. To run the site on your own machine, set APP_ENV=development.")
    return _page(400, "This form is out of date. Please go back, reload the page and send it again.")


def _untrusted_host(error: SecurityError) -> tuple[str, int, dict[str, str]]:
    # without a routed request no URL can be built, so no page either
    return "This site has another host name.\n", 400, {"Content-Type": "text/plain; charset=utf-8"}


def _database(error: sa.exc.DBAPIError) -> tuple[str, int]:
    try:
        unmigrated = lacks_tables(current_app.extensions["database"].engine)
    except sa.exc.DBAPIError:
        unmigrated = False
    if not unmigrated:
        raise error
    return _unmigrated(error)


def _unmigrated(error: Exception) -> tuple[str, int]:
    current_app.logger.error(MIGRATE)
    return _page(503, MIGRATE)
