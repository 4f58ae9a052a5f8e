"""What a message says: its HTML, its source, its attachments. Each look is noted in the history."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from flask import Response, abort, make_response, render_template, request, send_file
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.errors import DamagedMessageError, DatabaseError
from outbox.message.preview import Preview, attachment, preview
from outbox.web import headers
from outbox.web.current import connected, engine
from outbox.web.rights import Right, actor

if TYPE_CHECKING:
    from sqlalchemy import Connection

BODY = "body"

SOURCE_SHOWN = 200_000
"""Bytes of the source that are shown; the rest can be downloaded."""

_CALLING_HOME = re.compile(r"<(?=(?:link|i?frame|fencedframe|portal|object|embed)\b)", re.IGNORECASE)
"""Elements for which browsers open a connection before they ask the policy: `<link rel=preconnect>`, `<iframe src>`.
Renamed, they mean nothing."""

PASSIVE = frozenset({"application/pdf", "image/gif", "image/jpeg", "image/png", "image/webp"})
"""Types under which an attachment is handed out; any other becomes a file without a type."""

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""In a file name: control characters, slashes, and what turns "exe.pdf" round."""


_DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)
_TARGET = re.compile(r"(<(?:a|area|base)\b[^>]*?)[\s/]target(?=\s*=)", re.IGNORECASE)


def html(id: int) -> ResponseReturnValue:
    """The mail's HTML as a document of its own: no script, no form, and no remote content until asked."""
    detail = _found(id)
    shown = None if detail.redacted_at else preview(_wire(detail, BODY), inline_images=True).html
    if shown is None:
        abort(404, "This message has no HTML part, or it was redacted.")
    return as_document(shown, remote=request.args.get("remote") == "1")


def as_document(html: str, *, remote: bool) -> Response:
    """Without script and forms; `remote`: whether it may load images from elsewhere."""
    response = make_response(_opening_apart(_CALLING_HOME.sub("<x-", html)))
    response.headers["Content-Security-Policy"] = headers.MAIL_WITH_REMOTE_IMAGES if remote else headers.MAIL
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-DNS-Prefetch-Control"] = "off"
    return response


def _opening_apart(html: str) -> str:
    """The links lead to another tab: in the frame they would take the place of the mail."""
    html = _TARGET.sub(r"\1 data-target", html)
    doctype = _DOCTYPE.match(html)
    at = doctype.end() if doctype else 0
    return f'{html[:at]}<base target="_blank">{html[at:]}'


def source(id: int) -> ResponseReturnValue:
    """The raw source, its beginning at least."""
    detail = _found(id)
    raw = _wire(detail, BODY)
    text = raw[:SOURCE_SHOWN].decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    return render_template("outbox_admin/source.html", mail=detail, text=text, cut=len(raw) > SOURCE_SHOWN)


def download(id: int) -> ResponseReturnValue:
    """The raw source as a file."""
    return as_file(_wire(_found(id), "download"), f"mail-{id}.eml", "message/rfc822")


def one_attachment(id: int, number: int) -> ResponseReturnValue:
    """One attachment as a file, counted from 1; never as a page of this site."""
    detail = _found(id)
    found = None
    if detail.redacted_at is None:
        found = attachment(_unseen(detail), number - 1)
    if found is None:
        abort(404, "This message has no such attachment, or it was redacted.")
    name, kind, data = found
    name = _UNFIT.sub("_", name or "").strip(" .") or f"attachment-{number}"
    _note(detail, f"attachment {number}")  # without its name, which readers alone see
    return as_file(data, name, kind if kind in PASSIVE else "application/octet-stream")


def _found(id: int) -> operations.Detail:
    with connected() as connection:
        return detail_of(connection, id)


def detail_of(connection: Connection, id: int) -> operations.Detail:
    """One delivery and its message. Ends the request with 404 where there is none."""
    detail = operations.show(connection, id)
    if detail is None:
        abort(404, f"There is no message with the number {id}. It may have been purged.")
    return detail


def _wire(detail: operations.Detail, what: str) -> bytes:
    """The whole message, after the audit has recorded who sees `what` of it."""
    _note(detail, what)
    return _unseen(detail)


def _note(detail: operations.Detail, what: str) -> None:
    if detail.redacted_at is None:
        with operations.transaction(engine()) as connection:
            operations.note_look(connection, detail.id, what, by=actor())


def _unseen(detail: operations.Detail) -> bytes:
    """The whole message, for the program's eyes only: what of it is shown, `_note` must have noted."""
    with connected() as connection:
        return operations.wire(connection, detail.message_id, detail.recipient)


def content_of(detail: operations.Detail) -> tuple[Preview | None, str | None]:
    """What it says, or why that cannot be shown."""
    try:
        return preview(_wire(detail, BODY)), None
    except DamagedMessageError as damage:
        return None, str(damage)
    except DatabaseError as error:  # the rest of the page needs no write
        return None, f"The history can't be written, and every look at a message is written there: {error}"


def as_file(data: bytes, name: str, kind: str) -> Response:
    """To be kept, and never shown as a page of this site."""
    response = send_file(io.BytesIO(data), mimetype=kind, as_attachment=True, download_name=name)
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


VIEWS = (
    ("/mail/<int:id>/html", "html", "GET", (Right.VIEW, Right.READ_BODIES), html),
    ("/mail/<int:id>/source", "source", "GET", (Right.VIEW, Right.READ_BODIES), source),
    ("/mail/<int:id>/message.eml", "download", "GET", (Right.VIEW, Right.READ_BODIES), download),
    (
        "/mail/<int:id>/attachments/<int:number>",
        "one_attachment",
        "GET",
        (Right.VIEW, Right.READ_BODIES),
        one_attachment,
    ),
)
