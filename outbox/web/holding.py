"""Pauses: what is held back, by whom and why; holding back and letting go."""

from __future__ import annotations

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.loggers import get_logger
from outbox.operations.pauses import What
from outbox.web import csrf, query
from outbox.web.database import connected, engine
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")

SPANS = {"15m": "15 minutes", "1h": "an hour", "4h": "4 hours", "1d": "a day", "": "until somebody resumes it"}
MEANS = {
    What.ALL: "all mail",
    What.KIND: "a kind",
    What.DOMAIN: "a domain",
    What.SENDER: "a sender",
    What.TRANSPORT: "a transport",
}


def pauses() -> ResponseReturnValue:
    """What is paused, and a form to pause more; the address may hold what to begin with."""
    with connected() as connection:
        active = operations.pauses.active(connection)
    return render_template(
        "outbox_admin/pauses.html",
        pauses=active,
        means=MEANS,
        stopped=operations.stopped,
        spans=SPANS,
        what=request.args.get("what", What.DOMAIN.value),
        value=request.args.get("value", ""),
        did=request.args.get("did") if request.args.get("did") in {"paused", "resumed", "gone"} else None,
    )


def pause() -> ResponseReturnValue:
    """Hold back from now on."""
    csrf.check()
    what, value = _asked()
    span = query.age(request.form.get("for") or None)
    if span is not None and span.total_seconds() < 1:
        abort(400, "A pause has to be longer than that.")
    with operations.transaction(engine()) as connection:
        try:
            made = operations.pauses.pause(
                connection,
                what,
                value,
                by=actor(),
                reason=request.form.get("reason", "").strip(),
                seconds=None if span is None else span.total_seconds(),
                environment=query.EVERY if request.form.get("every") else query.own_environment(),
            )
        except ValueError as error:
            abort(400, f"{error}.")
    log.info("status=paused by=%r what=%r until=%s", actor(), str(made), made.until)
    return redirect(url_for(".pauses", did="paused"), 303)


def resume() -> ResponseReturnValue:
    """Let go."""
    csrf.check()
    what, value = _asked()
    with operations.transaction(engine()) as connection:
        try:
            environment = request.form.get("environment", query.own_environment())
            lifted = operations.pauses.resume(connection, what, value, by=actor(), environment=environment)
        except ValueError as error:
            abort(400, f"{error}.")
    for one in lifted:
        log.info("status=resumed by=%r what=%r", actor(), str(one))
    return redirect(url_for(".pauses", did="resumed" if lifted else "gone"), 303)


def _asked() -> tuple[What, str]:
    try:
        what = What(request.form.get("what", ""))
    except ValueError:
        abort(400, f"That cannot be paused. What can: {', '.join(What)}.")
    return what, "" if what is What.ALL else request.form.get("value", "").strip()


VIEWS = (
    ("/pauses", "pauses", "GET", (Right.VIEW,), pauses),
    ("/pause", "pause", "POST", (Right.VIEW, Right.ACT), pause),
    ("/resume", "resume", "POST", (Right.VIEW, Right.ACT), resume),
)
