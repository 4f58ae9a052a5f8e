"""What a person sees when a page cannot be shown: what is wrong and how to fix it, never a traceback."""

from __future__ import annotations

from flask import Blueprint, make_response, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, MethodNotAllowed, NotFound

from outbox.core.errors import DamagedMessageError, DatabaseError, SchemaError
from outbox.core.loggers import get_logger
from outbox.web import template_helpers

log = get_logger("outbox.web")

_TITLES = {400: "That can't be done", 403: "Not allowed", 404: "Not found", 405: "Not possible here"}


def install(blueprint: Blueprint) -> None:
    """Answer refusals and a database that fails with a page of `blueprint`'s own."""
    for refusal in (BadRequest, Forbidden, NotFound, MethodNotAllowed):
        blueprint.register_error_handler(refusal, _refused)
    blueprint.register_error_handler(SchemaError, _not_migrated)
    blueprint.register_error_handler(DatabaseError, _database_failed)
    blueprint.register_error_handler(DamagedMessageError, _damaged)


def _refused(refusal: HTTPException) -> ResponseReturnValue:
    status = refusal.code or 500
    return _page(
        status,
        _TITLES.get(status, refusal.name),
        str(refusal.description or ""),
        refused=isinstance(refusal, Forbidden),
    )


def _not_migrated(error: SchemaError) -> ResponseReturnValue:
    log.warning("status=not-migrated error=%s", error)
    return _page(503, "The database is not migrated", template_helpers.sentence(str(error)))


def _database_failed(error: DatabaseError) -> ResponseReturnValue:
    log.warning("status=database-failed error=%s", error)
    return _page(
        503,
        "The database does not answer",
        template_helpers.sentence(str(error)),
        "Committed mail is safe, and is sent when the database is back. Check that the server runs and has disk space, "
        "and that its address is right (`outbox-check` says more). Then load this page again.",
    )


def _damaged(error: DamagedMessageError) -> ResponseReturnValue:
    return _page(
        500, "This message is damaged", template_helpers.sentence(str(error)), "Other messages are not affected."
    )


def _page(status: int, title: str, *paragraphs: str, refused: bool = False) -> ResponseReturnValue:
    page = render_template("outbox_admin/problem.html", title=title, paragraphs=paragraphs, refused=refused)
    return make_response(page, status)
