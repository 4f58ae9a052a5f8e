"""Another recipient for one message that went to the wrong one."""

from __future__ import annotations

from flask import request, url_for
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.loggers import get_logger
from outbox.web import csrf, done, filter_form, pages, results, template_helpers
from outbox.web.current import engine, sensitive_kinds, settings
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")


def correct(id: int) -> ResponseReturnValue:
    """Another recipient for one mail, and requeue it. What was typed is kept where it can't be done."""
    csrf.check()
    try:
        with operations.transaction(engine()) as connection:
            new = operations.correct_recipient(
                connection,
                id,
                request.form.get("recipient", ""),
                by=actor(),
                sensitive_kinds=sensitive_kinds(),
                address_key=settings().address_digest_key,
                note=filter_form.note(request.form),
                environment=filter_form.environment(request.form.get("environment")),
            )
            held = results.held_by(connection, id)
    except ValueError as error:
        return pages.page_of(id, error=template_helpers.sentence(str(error))), 400
    log.info("status=edit-recipient by=%r delivery=%d", actor(), id)
    back = url_for(".mail", id=id, **filter_form.kept(request.form))
    became = f"addressed to {new}, queued again and due now"
    return done.leading_to(back, results.changed(1, became, held, this=True))


VIEWS = (("/mail/<int:id>/recipient", "correct", "POST", (Right.VIEW, Right.READ_BODIES, Right.ACT), correct),)
