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
    """The changes that people made, newest first."""
    before = query.cursor(request.args.get("before"))
    with connected() as connection:
        entries = operations.audit.recent(connection, PAGE + 1, before=None if before is None else min(before, MAX_ID))
    older = entries[PAGE - 1].id if len(entries) > PAGE else None
    return render_template("outbox_admin/history.html", entries=entries[:PAGE], older=older, before=before)


VIEWS = (("/history", "history", "GET", (Right.VIEW,), history),)
