"""How the outbox fares, and what failed for the same cause."""

from __future__ import annotations

from flask import current_app, render_template
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.web import actions
from outbox.web.database import bound, connected
from outbox.web.rights import Right

CAP = 10_000
"""Where counting stops: the page asks again every few seconds."""


def overview() -> ResponseReturnValue:
    """The state of everything on one screen."""
    return render_template("outbox_admin/overview.html", status=_status(CAP))


def failures() -> ResponseReturnValue:
    """Failed mail grouped by error and domain."""
    return render_template("outbox_admin/failures.html", failures=_status(1).failures, outcome=actions.outcome())


def _status(cap: int) -> operations.Status:
    settings = bound().settings(current_app)
    with connected() as connection:
        return operations.status(
            connection,
            dead_after=settings.dead_after_seconds,
            alarm_oldest=settings.alarm_oldest_seconds,
            environment=settings.environment,
            suppressed=settings.suppress_send,
            count_cap=cap,
        )


VIEWS = (
    ("/", "overview", "GET", (Right.VIEW,), overview),
    ("/failures", "failures", "GET", (Right.VIEW,), failures),
)
