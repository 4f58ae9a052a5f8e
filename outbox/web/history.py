"""Who changed what, and when."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.operations.conditions import MAX_ID
from outbox.web import filter_form
from outbox.web.current import connected
from outbox.web.rights import Right

PAGE = 50

ACTIONS = (
    *("requeue", "cancel", "mark-sent", "send-now", "send-again", "reschedule", "edit-recipient", "rewrite-date"),
    *("pause", "resume", "suppress", "unsuppress", "stop-worker", "drain-worker", "purge", "redact", "read"),
)
FIELDS = ("by", "action", "mail", "from", "until")


def history() -> ResponseReturnValue:
    """The changes that people made, newest first; with `reads=1` also who read what a message says."""
    before, reads = filter_form.cursor(request.args.get("before")), request.args.get("reads") == "1"
    asked = {name: word for name in FIELDS if (word := request.args.get(name, "").strip()[: filter_form.MAX_WORD])}
    number = filter_form.cursor(asked.get("mail"))
    with connected() as connection:
        entries = operations.audit.recent(
            connection,
            PAGE + 1,
            before=None if before is None else min(before, MAX_ID),
            by=asked.get("by"),
            action=asked.get("action"),
            delivery_id=number,
            since=filter_form.moment(asked.get("from")),
            until=filter_form.moment(asked.get("until")),
            without=None if reads or asked.get("action") == operations.READ else operations.READ,
        )
    older = entries[PAGE - 1].id if len(entries) > PAGE else None
    return render_template(
        "outbox_admin/history.html",
        entries=entries[:PAGE],
        older=older,
        before=before,
        asked=asked,
        actions=ACTIONS,
        reads=reads,
    )


VIEWS = (("/history", "history", "GET", (Right.VIEW,), history),)
