"""The state of the outbox, and what failed for the same cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import render_template, request
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.operations.problems import Kind
from outbox.web import charts, figures, filter_form
from outbox.web.current import application_engine, connected, engine, settings
from outbox.web.rights import Right

if TYPE_CHECKING:
    from sqlalchemy import Connection

CAP = 10_000
"""Where counting stops: the page asks again every few seconds."""

GROUPS = 5
ALL_GROUPS = 100

REFUSALS = {Kind.DOWN, Kind.QUOTA, Kind.REFUSED, Kind.DEFERRED, Kind.STOPPED}
"""Problems that say by whose words mail is not sent; a message that waits for their end is in no group of failures."""


def overview() -> ResponseReturnValue:
    """The state of everything on one screen."""
    with connected() as connection:
        status = _status(connection)
        drawn = charts.charts(connection, status)
    if wrong := operations.another_database(engine(), application_engine()):
        status.problems.insert(0, wrong)
    return render_template(
        "outbox_admin/overview.html",
        status=status,
        charts=drawn,
        failures=status.failures[:GROUPS],
        deferred=status.deferred_groups[:GROUPS],
    )


def failures() -> ResponseReturnValue:
    """What refuses mail now; failed and deferred mail by error and domain, of the own environment unless asked."""
    environment = filter_form.environment(request.args.get("environment"))
    word, seconds = figures.window()
    with connected() as connection:
        there = operations.environments(connection)
        mine = environment if there - {environment} else None  # where all is of it, nothing need be looked up
        groups = operations.failures(connection, ALL_GROUPS, environment=mine, seconds=seconds)
        waiting = operations.deferred(connection, ALL_GROUPS, environment=mine)
        status = _status(connection, counts=False)
    return render_template(
        "outbox_admin/failures.html",
        refusals=[words for words, kind in zip(status.problems, status.problem_kinds, strict=True) if kind in REFUSALS],
        failures=groups,
        deferred=waiting,
        window=word,
        windows=figures.WINDOWS,
        environment=request.args.get("environment"),
        shared=bool(there - {filter_form.own_environment()}),
    )


def _status(connection: Connection, *, counts: bool = True) -> operations.Status:
    configured = settings()
    return operations.status(
        connection,
        dead_after=configured.dead_after_seconds,
        alarms=operations.Alarms.of(configured),
        environment=configured.environment,
        suppressed=configured.suppress_send,
        count_cap=CAP,
        counts=counts,
    )


VIEWS = (
    ("/", "overview", "GET", (Right.VIEW,), overview),
    ("/failures", "failures", "GET", (Right.VIEW,), failures),
)
