"""The state of the outbox, and what failed for the same cause."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.web import actions, charts, figures, filter_form
from outbox.web.current import application_engine, connected, engine, settings
from outbox.web.rights import Right

CAP = 10_000
"""Where counting stops: the page asks again every few seconds."""


GROUPS = 5
ALL_GROUPS = 100


def overview() -> ResponseReturnValue:
    """The state of everything on one screen."""
    configured = settings()
    with connected() as connection:
        status = operations.status(
            connection,
            dead_after=configured.dead_after_seconds,
            alarms=operations.Alarms.of(configured),
            environment=configured.environment,
            suppressed=configured.suppress_send,
            count_cap=CAP,
        )
        drawn = charts.charts(connection, status.at)
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
    """Failed and deferred mail grouped by error and domain, of the own environment unless asked."""
    environment = filter_form.environment(request.args.get("environment"))
    word, seconds = figures.window()
    with connected() as connection:
        there = operations.environments(connection)
        mine = environment if there - {environment} else None  # where all is of it, nothing need be looked up
        groups = operations.failures(connection, ALL_GROUPS, environment=mine, seconds=seconds)
        waiting = operations.deferred(connection, ALL_GROUPS, environment=mine)
    return render_template(
        "outbox_admin/failures.html",
        failures=groups,
        deferred=waiting,
        window=word,
        windows=figures.WINDOWS,
        environment=request.args.get("environment"),
        shared=bool(there - {filter_form.own_environment()}),
        outcome=actions.outcome(),
    )


VIEWS = (
    ("/", "overview", "GET", (Right.VIEW,), overview),
    ("/failures", "failures", "GET", (Right.VIEW,), failures),
)
