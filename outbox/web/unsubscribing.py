"""The page behind the links in List-Unsubscribe. Looking at it changes nothing: scanners follow every link."""

from __future__ import annotations

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.errors import OutboxError
from outbox.core.loggers import get_logger
from outbox.delivery.suppression import SUBSCRIPTION
from outbox.message.unsubscribe_link import PURPOSE, Unsubscribing, read
from outbox.operations.unsubscribing import resubscribe, unsubscribe
from outbox.settings.secret_keys import derived
from outbox.web.current import engine, settings

log = get_logger("outbox.web")

MOST_BYTES = 4096
"""Of a form: RFC 8058 sends one short field."""

EVERYTHING = f"category:{SUBSCRIPTION}"

_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


def unsubscribe_blueprint(*, name: str = "outbox_unsubscribe") -> Blueprint:
    """Where people unsubscribe, to be registered once at the path of OUTBOX_UNSUBSCRIBE_URL.

        csrf.exempt(unsubscribe := outbox.web.unsubscribe_blueprint())  # where CSRFProtect guards all forms
        app.register_blueprint(unsubscribe, url_prefix="/unsubscribe")

    It needs no log-in, session or cookie: the signed link is the proof. `name`: the blueprint's, if
    `outbox_unsubscribe` is taken.
    """
    made = Blueprint(name, __name__, template_folder="templates", static_folder="static", static_url_path="/static")
    made.add_url_rule("/<token>", "page", _page, methods=["GET"])
    made.add_url_rule("/<token>", "unsubscribe", _unsubscribe, methods=["POST"])
    made.after_request(_headers)
    return made


def _page(token: str) -> ResponseReturnValue:
    return _shown("ask", _of(token))


def _unsubscribe(token: str) -> ResponseReturnValue:
    """One-click (RFC 8058), or the page's own form: `do` is then all, or undo."""
    wanted, form = _of(token), _form()
    configured = settings()
    key, scope = configured.address_digest_key, wanted.scope
    undo = form.get("do") == "undo"
    if form.get("scope") == "all":
        scope = EVERYTHING
    try:
        with operations.transaction(engine()) as connection:
            change = resubscribe if undo else unsubscribe
            changed = change(connection, wanted.address, scope, address_key=key)
    except OutboxError as error:
        log.error("status=unsubscribe-failed error=%s", error)
        return _shown("later", wanted), 503, {"Retry-After": "30"}
    log.info("status=%s scope=%s new=%s", "resubscribed" if undo else "unsubscribed", scope, changed)
    return _shown("back" if undo else "done", wanted, of_all=scope == EVERYTHING)


def _of(token: str) -> Unsubscribing:
    """What the link says. Aborts where it is none of ours."""
    wanted = read(token, derived(settings(), PURPOSE))
    if wanted is None:
        abort(Response(_shown("unknown", None), 404))
    return wanted


def _form() -> dict[str, str]:
    """What the page's own form says. A body of unknown length is not read: to post is all that one-click does."""
    length = request.content_length
    if length is None:
        return {}
    if length > MOST_BYTES:
        abort(413)
    return {key: request.form.get(key, "") for key in ("do", "scope")}


def _shown(what: str, wanted: Unsubscribing | None, *, of_all: bool = False) -> str:
    kind = wanted.scope.partition(":")[2] if wanted else ""
    return render_template(
        "outbox_unsubscribe/page.html",
        what=what,
        kind=kind,
        address=_hinted(wanted.address) if wanted else "",
        of_all=of_all,
    )


def _hinted(address: str) -> str:
    """Enough of an address to know it again: mail is forwarded, with its links."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}"


def _headers(response: Response) -> Response:
    if not (request.endpoint or "").endswith(".static"):
        response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
