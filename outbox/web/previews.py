"""The preview gallery: every kind × sample × locale as readers will see it. Open in development, elsewhere closed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, abort, current_app, g, make_response, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, MethodNotAllowed, NotFound

from outbox.core.errors import OutboxError
from outbox.web import csrf, done, headers, preview_sending, preview_views, template_helpers
from outbox.web.rights import UNKNOWN, Actor, Check, Right, granted, no_name

View = Callable[..., ResponseReturnValue]


def preview_blueprint(
    *,
    may_view: Check | None = None,
    may_send: Check | None = None,
    me: Actor = no_name,
    name: str = "outbox_previews",
) -> Blueprint:
    """The gallery of samples (`kind.preview`), to be registered once under a prefix of the application's choice.

        app.register_blueprint(outbox.web.preview_blueprint(), url_prefix="/previews")

    It is open while the application is in debug mode (`flask run --debug`). Elsewhere all of it answers 404 unless
    `may_view` is given, which then decides in each request. `may_send`: who may send a sample to an address, likewise.
    `me`: the address that the form for that begins with. `name`: the blueprint's, if `outbox_previews` is taken.
    """
    made = Blueprint(name, __name__, template_folder="templates", static_folder="static", static_url_path="/static")

    def may(right: Right) -> bool:
        """ACT is to send a sample."""
        if current_app.debug:
            return True
        checks = [may_view] if right is Right.VIEW else [may_view, may_send]
        return all(check is not None and granted(check, right) for check in checks)

    def guard(view: View, right: Right) -> View:
        @wraps(view)
        def guarded(**kwargs: Any) -> ResponseReturnValue:
            if may_view is None and not current_app.debug:
                abort(404)
            g.outbox_previews = True
            if not may(right):
                abort(403, "You don't have the right to see the previews, or to send them, here.")
            return view(**kwargs)

        return guarded

    for views, right, method in ((preview_views.VIEWS, Right.VIEW, "GET"), (preview_sending.VIEWS, Right.ACT, "POST")):
        for rule, endpoint, view in views:
            made.add_url_rule(rule, endpoint, guard(view, right), methods=[method])
    headers.install(made)
    for refusal in (BadRequest, Forbidden, NotFound, MethodNotAllowed):
        made.register_error_handler(refusal, _refused)
    made.register_error_handler(OutboxError, _failed)
    made.context_processor(
        lambda: {
            "said": done.said,
            "size": template_helpers.size,
            "code": template_helpers.code,
            "may_view": lambda: bool(g.get("outbox_previews")) and may(Right.VIEW),
            "may_send": lambda: may(Right.ACT),
            "me": lambda: ((me() if may(Right.ACT) else "") or "").strip().removeprefix(UNKNOWN),
            "outbox_token": csrf.token,
            "OUTBOX_TOKEN_FIELD": csrf.FIELD,
        }
    )
    return made


def _refused(refusal: HTTPException) -> ResponseReturnValue:
    """Where the gallery is closed, nothing says that there is one."""
    if not g.get("outbox_previews"):
        return refusal.get_response()
    return _page(refusal.code or 500, refusal.name, str(refusal.description or ""))


def _failed(error: OutboxError) -> ResponseReturnValue:
    return _page(500, "That did not work", template_helpers.sentence(str(error)))


def _page(status: int, title: str, text: str) -> ResponseReturnValue:
    return make_response(render_template("outbox_previews/problem.html", title=title, text=text), status)
