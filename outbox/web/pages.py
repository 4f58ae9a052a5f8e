"""What can be looked at: the list, and one mail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from outbox import operations
from outbox.core import clock
from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.operations import Filter
from outbox.operations.timeline import named, timeline
from outbox.web import actions, filter_form
from outbox.web.content import content_of, detail_of
from outbox.web.current import connected, sensitive_kinds
from outbox.web.rights import Right, may

if TYPE_CHECKING:
    from sqlalchemy import Connection

PAGE = 50
CAP = 10_000
TRAIL = 200
LOOK_SECONDS = 0.06
FURTHER_SECONDS = 0.1
"""How long a page searches for words that no index finds; each further page should show something."""


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
        holding = operations.pauses.holding_each(connection, page.rows)
    shown = render_template(
        "outbox_admin/mails.html",
        page=page,
        holding_each=holding,
        words=words,
        labels=filter_form.LABELS,
        error=error,
        cap=CAP,
        older=_older(page, before, trail),
        newer=_newer(before, trail),
        place=filter_form.place(request.args),
        ticked=request.args.getlist("id"),
        actions=[] if error else _fitting(wanted.states, suppressed=wanted.is_suppressed),
        all_possible=not wanted.is_empty,
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
        detail = detail_of(connection, id)
        changes = operations.audit.of_delivery(connection, id)
        events = operations.event_log.of_delivery(connection, id)
        holding = operations.pauses.holding_each(connection, [detail]).get(id, [])
        newer, older = _neighbours(connection, id, filter_form.to_filter(filter_form.of_list(listed)))
    asked = request.values.get("environment")
    foreign = filter_form.environment(asked) not in (None, detail.environment)
    readable = may(Right.READ_BODIES)
    content, damage = content_of(detail) if readable and detail.redacted_at is None else (None, None)
    return render_template(
        "outbox_admin/mail.html",
        mail=detail,
        steps=[(named(step), step) for step in timeline(detail.attempt_log, events, changes)],
        stopped_address=detail.reason == Reason.SUPPRESSION,
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
        sensitive=detail.kind in sensitive_kinds(),
        correctable=not foreign
        and may(Right.ACT)
        and may(Right.READ_BODIES)
        and detail.state in operations.CORRECTABLE
        and detail.redacted_at is None
        and detail.marked_at is None,
        remote=request.args.get("remote") == "1",
    )


def slashed() -> ResponseReturnValue:
    """The list, for an address with an extra slash."""
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
)
