"""What can be looked at: the overview, the list, one mail and its parts."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

from flask import Response, abort, current_app, make_response, redirect, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from outbox import operations
from outbox.core import clock
from outbox.core.errors import DamagedMessageError, DatabaseError
from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.message.preview import Preview, attachment, preview
from outbox.operations import Filter
from outbox.web import actions, filter_form, headers
from outbox.web.current import connected, engine, settings
from outbox.web.rights import Right, actor, may

if TYPE_CHECKING:
    from sqlalchemy import Connection

PAGE = 50
CAP = 10_000
TRAIL = 200
LOOK_SECONDS = 0.06
FURTHER_SECONDS = 0.1
"""How long a page looks for words that no index knows; who leafs on wants to get somewhere."""

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


def mails() -> ResponseReturnValue:
    """The mail that matches, newest first. A filter that is invalid is named above the form, which keeps it."""
    words = filter_form.words(request.args)
    try:
        wanted, error = filter_form.to_filter(words), None
    except BadRequest as refusal:
        wanted, error = Filter(ids=(0,)), str(refusal.description)
    before = filter_form.cursor(request.args.get("before"))
    trail = [step for step in request.args.get("trail", "").split(".") if step.isascii() and step.isdigit()][-TRAIL:]
    with connected() as connection:
        if _is_recipient(connection, words):
            return redirect(url_for(".mails", **_as_recipient(words)))
        page = _page(connection, wanted, before, oldest_first=filter_form.oldest_first(words))
    shown = render_template(
        "outbox_admin/mails.html",
        page=page,
        words=words,
        labels=filter_form.LABELS,
        error=error,
        cap=CAP,
        older=_older(page, before, trail),
        newer=_newer(before, trail),
        actions=[] if error else _fitting(wanted.states, suppressed=wanted.is_suppressed),
        all_possible=not wanted.is_empty,
        outcome=actions.outcome(),
    )
    return shown, 400 if error else 200


def _page(connection: Connection, wanted: Filter, place: int | None, *, oldest_first: bool) -> operations.Page:
    seconds = LOOK_SECONDS if place is None else FURTHER_SECONDS
    if oldest_first:
        return operations.browse(
            connection, wanted, after=place, oldest_first=True, limit=PAGE, cap=CAP, seconds=seconds
        )
    return operations.browse(connection, wanted, before=place, limit=PAGE, cap=CAP, seconds=seconds)


def mail(id: int) -> ResponseReturnValue:
    """One delivery: what became of it, why, and its content for users with the right to read it."""
    return page_of(id)


def page_of(id: int, *, error: str | None = None) -> str:
    """The page of one delivery. `error`: why the form on it could not be done; what was typed is shown again."""
    listed = request.values.get("list")
    back: filter_form.Link = {**filter_form.of_list(listed)}
    with connected() as connection:
        detail = _detail(connection, id)
        changes = operations.audit.of_delivery(connection, id)
        queued = detail.state is State.QUEUED
        holding = (
            operations.pauses.holding(
                connection, detail.recipient, detail.kind, detail.environment, detail.envelope_from, id
            )
            if queued
            else []
        )
        newer, older = _neighbours(connection, id, filter_form.to_filter(filter_form.of_list(listed)))
    asked = request.values.get("environment")
    foreign = filter_form.environment(asked) not in (None, detail.environment)
    readable = may(Right.READ_BODIES)
    content, damage = _content(detail) if readable and detail.redacted_at is None else (None, None)
    return render_template(
        "outbox_admin/mail.html",
        mail=detail,
        changes=changes,
        content=content,
        damage=damage,
        readable=readable,
        headers=[(n, v) for n, v in detail.headers if readable or n.lower() in operations.PUBLIC_HEADERS],
        hidden=0 if readable else sum(n.lower() not in operations.PUBLIC_HEADERS for n, _ in detail.headers),
        actions=[] if foreign else _possible(detail),
        foreign=foreign,
        suppressed=detail.reason == Reason.SUPPRESSED,
        kept=filter_form.kept(request.values),
        back=url_for(".mails", **back),
        newer=newer,
        older=older,
        error=error,
        typed=request.form,
        metadata=_readable(detail.metadata),
        holding=holding,
        paused_alone=any(one.what is operations.pauses.What.MESSAGE for one in holding),
        pausable=not foreign and detail.state is State.QUEUED,
        repeatable=not foreign and detail.state in operations.REPEATABLE and detail.redacted_at is None,
        stopped=operations.stopped,
        sensitive=detail.kind in settings().sensitive_kinds,
        correctable=not foreign
        and may(Right.ACT)
        and may(Right.READ_BODIES)
        and detail.state in operations.CORRECTABLE
        and detail.redacted_at is None
        and detail.marked_at is None,
        outcome=actions.outcome(),
        remote=request.args.get("remote") == "1",
    )


def html(id: int) -> ResponseReturnValue:
    """The mail's HTML as a document of its own: no script, no form, and no remote content until asked."""
    detail = _found(id)
    shown = None if detail.redacted_at else preview(_wire(detail, BODY), inline_images=True).html
    if shown is None:
        abort(404, "This message has no HTML part, or it was redacted.")
    remote = request.args.get("remote") == "1"
    response = make_response(_opening_apart(_CALLING_HOME.sub("<x-", shown)))
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
    return _as_file(_wire(_found(id), "download"), f"mail-{id}.eml", "message/rfc822")


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
    return _as_file(data, name, kind if kind in PASSIVE else "application/octet-stream")


def slashed() -> ResponseReturnValue:
    """The list, for who typed a slash too many."""
    words: filter_form.Link = {**filter_form.words(request.args)}
    return redirect(url_for(".mails", **words), 301)


def unknown(rest: str) -> ResponseReturnValue:
    """What is not one of the pages, with the way to those that there are."""
    if "POST" in current_app.url_map.bind_to_environ(request.environ).allowed_methods():
        abort(405)
    abort(404, f"There is no page {rest[:80]!r} here. Check the address, or use the links above.")


def _neighbours(connection: Connection, id: int, wanted: Filter) -> tuple[int | None, int | None]:
    """The deliveries before and behind one in its list, as far as a short look finds them."""
    seconds = LOOK_SECONDS / 4
    newer = operations.browse(connection, wanted, after=id, oldest_first=True, limit=1, cap=1, seconds=seconds)
    older = operations.browse(connection, wanted, before=id, limit=1, cap=1, seconds=seconds)
    return newer.rows[0].id if newer.rows else None, older.rows[0].id if older.rows else None


def _is_recipient(connection: Connection, words: filter_form.Words) -> bool:
    """Whether the search is for an address that mail went to: that the index answers, a search reads all mail."""
    sought = words.get("search", "")
    if "@" not in sought or "<" in sought or " " in sought or "recipient" in words:
        return False
    return bool(operations.find(connection, Filter(recipient=sought), limit=1))


def _as_recipient(words: filter_form.Words) -> dict[str, Any]:
    return {("recipient" if name == "search" else name): word for name, word in words.items()}


def _found(id: int) -> operations.Detail:
    with connected() as connection:
        return _detail(connection, id)


def _detail(connection: Connection, id: int) -> operations.Detail:
    detail = operations.show(connection, id)
    if detail is None:
        abort(404, f"There is no message with the number {id}. It may have been purged.")
    return detail


def _wire(detail: operations.Detail, what: str) -> bytes:
    """The whole message, once it is noted who sees `what` of it."""
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


def _content(detail: operations.Detail) -> tuple[Preview | None, str | None]:
    """What it says, or why that cannot be shown."""
    try:
        return preview(_wire(detail, BODY)), None
    except DamagedMessageError as damage:
        return None, str(damage)
    except DatabaseError as error:  # the rest of the page needs no write
        return None, f"The history can't be written, and every look at a message is written there: {error}"


def _as_file(data: bytes, name: str, kind: str) -> Response:
    response = send_file(io.BytesIO(data), mimetype=kind, as_attachment=True, download_name=name)
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _possible(detail: operations.Detail) -> list[actions.Action]:
    """The actions for one mail."""
    suppressed = detail.reason == Reason.SUPPRESSED
    fitting = _fitting((detail.state,), redacted=detail.redacted_at is not None, suppressed=suppressed)
    return [action for action in fitting if action.name != "send-now" or _is_later(detail)]


def _fitting(states: tuple[State, ...], *, redacted: bool = False, suppressed: bool = False) -> list[actions.Action]:
    """The actions that this request may do and that can change something in one of these states (none given: any)."""
    return [
        action
        for action in actions.ACTIONS.values()
        if any(action.takes(state, suppressed=suppressed) for state in states or tuple(State))
        and not (redacted and action.target is State.QUEUED)
        and may(action.right)
    ]


def _readable(metadata: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Text as it is, anything else as JSON."""
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in (metadata or {}).items()
    ]


def _is_later(detail: operations.Detail) -> bool:
    return detail.due_at is not None and detail.due_at > clock.utcnow()


def _older(page: operations.Page, before: int | None, trail: list[str]) -> dict[str, Any] | None:
    if page.older is None:
        return None
    return {"before": page.older, "trail": ".".join([*trail, str(before or 0)][-TRAIL:])}


def _newer(before: int | None, trail: list[str]) -> dict[str, Any] | None:
    """The page before this one: where it began was kept in the address, since ids only count downwards."""
    if before is None:
        return None
    last = trail[-1] if trail else "0"
    return {"before": None if last == "0" else last, "trail": ".".join(trail[:-1]) or None}


VIEWS = (
    ("/mail", "mails", "GET", (Right.VIEW,), mails),
    ("/mail/", "slashed", "GET", (Right.VIEW,), slashed),
    ("/<path:rest>", "unknown", "GET", (Right.VIEW,), unknown),
    ("/mail/<int:id>", "mail", "GET", (Right.VIEW,), mail),
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
