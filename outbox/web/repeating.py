"""Send a sent message again: confirmed first, because its recipient has it already."""

from __future__ import annotations

from flask import abort, render_template, request, url_for
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.loggers import get_logger
from outbox.delivery.states import State
from outbox.web import csrf, done, filter_form, results, template_helpers
from outbox.web.current import connected, engine, settings
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")


def ask_to_send_again(id: int) -> ResponseReturnValue:
    """What will be sent to whom, with a button that does it."""
    with connected() as connection:
        detail = operations.show(connection, id)
    if detail is None:
        abort(404, f"There is no message with the number {id}. It may have been purged.")
    possible = detail.state in operations.REPEATABLE and detail.redacted_at is None
    return render_template(
        "outbox_admin/again.html", mail=detail, possible=possible, sent=State.SENT, kept=filter_form.kept(request.args)
    )


def send_again(id: int) -> ResponseReturnValue:
    """Enqueue it again."""
    csrf.check()
    try:
        with operations.transaction(engine()) as connection:
            made = operations.send_again(
                connection,
                id,
                by=actor(),
                note=filter_form.note(request.form),
                environment=filter_form.environment(request.form.get("environment")),
                wake=settings().wake,
            )
            held = results.held_by(connection, made)
    except ValueError as error:
        abort(400, template_helpers.sentence(str(error)))
    log.info("status=send-again by=%r delivery=%d new=%d", actor(), id, made)
    back = url_for(".mail", id=made, **filter_form.kept(request.form))
    return done.leading_to(back, results.changed(1, "the new one, queued and due now", held, this=True))


VIEWS = (
    ("/mail/<int:id>/again", "ask_to_send_again", "GET", (Right.VIEW, Right.ACT), ask_to_send_again),
    ("/mail/<int:id>/send-again", "send_again", "POST", (Right.VIEW, Right.ACT), send_again),
)
