"""Who changed what, and when."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.operations.filters import MAX_ID
from outbox.web import query
from outbox.web.database import connected
from outbox.web.rights import Right

PAGE = 50


def history() -> ResponseReturnValue:
    """The changes that people made, newest first; with `reads=1` also who read what a message says."""
    before, reads = query.cursor(request.args.get("before")), request.args.get("reads") == "1"
    with connected() as connection:
        entries = operations.audit.recent(
            connection,
            PAGE + 1,
            before=None if before is None else min(before, MAX_ID),
            without=None if reads else operations.READ,
        )
    older = entries[PAGE - 1].id if len(entries) > PAGE else None
    return render_template("outbox_admin/history.html", entries=entries[:PAGE], older=older, before=before, reads=reads)


VIEWS = (("/history", "history", "GET", (Right.VIEW,), history),)
