"""Pauses: what is held back, by whom and why; pause and resume."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from flask import abort, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from outbox import operations
from outbox.core.loggers import get_logger
from outbox.delivery.states import State
from outbox.operations import Filter
from outbox.operations.pauses import What
from outbox.web import csrf, done, filter_form, results, template_helpers
from outbox.web.current import connected, engine, settings
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")

SPANS = {"15m": "15 minutes", "1h": "an hour", "4h": "4 hours", "1d": "a day", "": "until somebody resumes it"}
FIELDS = ("what", "value", "for", "reason", "every")
CAP = 10_000

MEANS = {
    What.ALL: "all mail",
    What.KIND: "a kind",
    What.DOMAIN: "a domain",
    What.SENDER: "a sender",
    What.BATCH: "a batch",
    What.MESSAGE: "a message, by its number",
    What.TRANSPORT: "a transport",
}


def pauses() -> ResponseReturnValue:
    """What is paused, and a form to pause more; the address may hold what to begin with."""
    return _shown(request.args)


def _shown(typed: Mapping[str, str], error: str | None = None) -> str:
    with connected() as connection:
        active = operations.pauses.active(connection)
        slowed = operations.slowed.slowed(connection, filter_form.own_environment())
    return render_template(
        "outbox_admin/pauses.html",
        pauses=active,
        slowed=slowed,
        means=MEANS,
        transports=_transports(),
        stopped=operations.stopped,
        spans=SPANS,
        what=typed.get("what", What.DOMAIN.value),
        value=typed.get("value", ""),
        for_how_long=typed.get("for", next(iter(SPANS))),
        reason=typed.get("reason", ""),
        every=typed.get("every"),
        error=error,
    )


def ask_to_pause() -> ResponseReturnValue:
    """What a pause would hold back, with a button that sets it. What was typed is kept where it can't be set."""
    try:
        what, value = _asked(request.args)
        value = _known(what, operations.pauses.value_of(what, value))
        span = _span(request.args)
    except (ValueError, BadRequest) as error:
        words = str(error.description) if isinstance(error, BadRequest) else str(error)
        return _shown(request.args, template_helpers.sentence(words)), 400
    every = bool(request.args.get("every"))
    wanted = Filter(states=(State.QUEUED,), environment=None if every else filter_form.own_environment())
    with connected() as connection:
        count = operations.pauses.concerned(connection, what, value, wanted, CAP)
    fields = {name: request.args[name] for name in FIELDS if request.args.get(name)}
    return render_template(
        "outbox_admin/pause.html",
        what=what,
        value=value or "<>",
        every=every,
        count=count,
        cap=CAP,
        ends=None if span is None else template_helpers.span(span.total_seconds()),
        fields=fields,
    )


def pause() -> ResponseReturnValue:
    """Pause it from now on."""
    csrf.check()
    try:
        what, value = _asked(request.form)
        span = _span(request.form)
        _known(what, value)
        with operations.transaction(engine()) as connection:
            made = operations.pauses.pause(
                connection,
                what,
                value,
                by=actor(),
                reason=request.form.get("reason", "").strip(),
                seconds=None if span is None else span.total_seconds(),
                environment=filter_form.EVERY if request.form.get("every") else filter_form.own_environment(),
            )
            result = results.paused(made, connection, this=_origin() is not None)
    except ValueError as error:
        return _shown(request.form, template_helpers.sentence(str(error))), 400
    log.info("status=paused by=%r what=%r until=%s", actor(), str(made), made.until)
    return _done(result)


def resume() -> ResponseReturnValue:
    """Resume what is paused."""
    csrf.check()
    what, value = _asked(request.form)
    with operations.transaction(engine()) as connection:
        try:
            environment = request.form.get("of") or request.form.get("environment", filter_form.own_environment())
            lifted = operations.pauses.resume(connection, what, value, by=actor(), environment=environment)
        except ValueError as error:
            abort(400, f"{error}.")
        result = (
            results.resumed(lifted[0], connection, this=_origin() is not None)
            if lifted
            else results.Result("Nothing was changed: that pause had already ended.", good=False)
        )
    for one in lifted:
        log.info("status=resumed by=%r what=%r", actor(), str(one))
    return _done(result)


def speed_up() -> ResponseReturnValue:
    """Send by a transport as fast as before, whatever its relay has said."""
    csrf.check()
    name, environment = request.form.get("transport", ""), filter_form.own_environment()
    with operations.transaction(engine()) as connection:
        if not operations.slowed.forget(connection, name, environment=environment, by=actor()):
            return _done(results.Result("Nothing was changed: no mail by that transport is slowed.", good=False))
    log.info("status=resumed by=%r what=%r", actor(), f"lower rates of {name}")
    return _done(results.Result(f"Mail by {name} goes as fast as before, until its relay throttles again."))


def _done(result: results.Result) -> ResponseReturnValue:
    """Back to the message that was paused alone, or to all pauses."""
    origin = _origin()
    if origin is None:
        return done.leading_to(url_for(".pauses"), result)
    return done.leading_to(url_for(".mail", id=origin, **filter_form.kept(request.form)), result)


def _known(what: What, value: str) -> str:
    """Raises ValueError for a transport that nobody has."""
    if what is What.TRANSPORT:
        with connected() as connection:
            operations.transports.must_be_known(connection, value, _transports())
    return value


def _transports() -> list[str]:
    return [one.name for one in settings().transports]


def _origin() -> int | None:
    """The message from whose page the form came."""
    return filter_form.cursor(request.form.get("origin"))


def _span(form: Mapping[str, str]) -> timedelta | None:
    span = filter_form.age(form.get("for") or None)
    if span is not None and span.total_seconds() < 1:
        abort(400, "A pause must last at least one second.")
    return span


def _asked(form: Mapping[str, str]) -> tuple[What, str]:
    try:
        what = What(form.get("what", ""))
    except ValueError:
        abort(400, f"That can't be paused. What can be paused: {', '.join(What)}.")
    return what, "" if what is What.ALL else form.get("value", "").strip()


VIEWS = (
    ("/pauses", "pauses", "GET", (Right.VIEW,), pauses),
    ("/pauses/question", "ask_to_pause", "GET", (Right.VIEW, Right.ACT), ask_to_pause),
    ("/pause", "pause", "POST", (Right.VIEW, Right.ACT), pause),
    ("/resume", "resume", "POST", (Right.VIEW, Right.ACT), resume),
    ("/speed-up", "speed_up", "POST", (Right.VIEW, Right.ACT), speed_up),
)
