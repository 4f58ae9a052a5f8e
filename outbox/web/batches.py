"""Batches: how far each is, and cancelling one."""

from __future__ import annotations

from flask import abort, render_template, request, url_for
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.loggers import get_logger
from outbox.operations.batches import BatchRow, cancel, listed, named, share_words, state_words
from outbox.web import csrf, done, filter_form, results
from outbox.web.current import connected, engine, settings
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")

PAGE = 25


def shown() -> ResponseReturnValue:
    """The newest, or one page of those before."""
    before = filter_form.cursor(request.args.get("before"))
    with connected() as connection:
        found = listed(connection, settings().environment, before=before, limit=PAGE + 1)
    return render_template(
        "outbox_admin/batches.html",
        batches=found[:PAGE],
        more=found[PAGE - 1].id if len(found) > PAGE else None,
        before=before,
        state_words=state_words,
        share_words=share_words,
    )


def ask_to_cancel() -> ResponseReturnValue:
    """What cancelling would do, with a button that does it."""
    return render_template("outbox_admin/batch_question.html", batch=_named(request.args.get("name", "")))


def cancel_one() -> ResponseReturnValue:
    """Add nothing more, and cancel what is queued."""
    csrf.check()
    batch = _named(request.form.get("name", ""))
    with operations.guarded(engine()):
        some = cancel(engine(), batch.name, batch.environment, by=actor(), note=filter_form.note(request.form))
        count = sum(len(one.changed) for one in some)
    log.info("status=batch-cancelled by=%r name=%r count=%d", actor(), batch.name, count)
    result = results.Result(f"The batch {batch.name} is cancelled: {results.messages(count)} of it will not be sent.")
    return done.leading_to(url_for(".batches"), result)


def _named(name: str) -> BatchRow:
    with connected() as connection:
        found = named(connection, name.strip(), settings().environment, exact=False)
    if found is None:
        abort(404, "There is no batch of this name: it was purged, or its name is mistyped.")
    return found


VIEWS = (
    ("/batches", "batches", "GET", (Right.VIEW,), shown),
    ("/batches/question", "ask_to_cancel_batch", "GET", (Right.VIEW, Right.ACT), ask_to_cancel),
    ("/batches/cancel", "cancel_batch", "POST", (Right.VIEW, Right.ACT), cancel_one),
)
