"""Figures by kind, and what waits by domain and age."""

from __future__ import annotations

from flask import abort, render_template, request
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.web import filter_form
from outbox.web.current import connected, kinds_defined
from outbox.web.rights import Right

WINDOWS = {"1h": "last hour", "6h": "last 6 hours", "1d": "last day", "7d": "last 7 days", "30d": "last 30 days"}
USUAL = "1d"


def window() -> tuple[str, float]:
    """The time that the page is about: its word and its seconds."""
    word = request.args.get("window") or USUAL
    age = filter_form.age(word)
    if age is None or not 60 <= age.total_seconds() <= 366 * 86_400:
        abort(400, f"{word[:40]!r} is not a time from 1m to 366d.")
    return word, age.total_seconds()


def kinds() -> ResponseReturnValue:
    """What came of the mail of each kind."""
    word, seconds = window()
    with connected() as connection:
        shared = operations.environments(connection) - {filter_form.own_environment()}
        found = operations.kinds(connection, seconds, environment=filter_form.own_environment() if shared else None)
    return render_template(
        "outbox_admin/kinds.html", kinds=found, policies=kinds_defined(), window=word, windows=WINDOWS
    )


def shape() -> ResponseReturnValue:
    """What waits, by the recipients' domain and by age: where mail piles up, and since when."""
    with connected() as connection:
        found = operations.shape(connection)
    return render_template("outbox_admin/shape.html", shape=found)


VIEWS = (
    ("/kinds", "kinds", "GET", (Right.VIEW,), kinds),
    ("/backlog", "shape", "GET", (Right.VIEW,), shape),
)
