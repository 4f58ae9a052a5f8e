"""What handlers, webhooks and digests are still to do, what keeps failing, and having it called again or dropped."""

from __future__ import annotations

from collections.abc import Mapping

from flask import abort, render_template, request, url_for
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.loggers import get_logger
from outbox.extension.state import bound_to
from outbox.operations.digests import waiting
from outbox.operations.effects import Chosen, drop, run_again
from outbox.web import csrf, done, filter_form, results
from outbox.web.current import application, connected, engine, settings
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")

PAGE = 50
RUN, DROP = "run", "drop"
_LONGEST_NAME = 200


def shown() -> ResponseReturnValue:
    """By name how much waits, and the newest of it."""
    chosen = _chosen(request.args)
    with connected() as connection:
        counts = operations.effects.counts(connection, settings().environment, results.CAP)
        listed = operations.effects.listed(connection, chosen, PAGE + 1)
        digests = [] if chosen.name else waiting(connection, settings().environment, results.CAP)
    return render_template(
        "outbox_admin/effects.html",
        counts=counts,
        cap=results.CAP,
        listed=listed[:PAGE],
        more=len(listed) > PAGE,
        name=chosen.name,
        digests=digests,
        known=set(bound_to(application()).listening.all),
    )


def ask_to_change() -> ResponseReturnValue:
    """What calling again, or dropping, would do, with a button that does it."""
    chosen, what = _meant(request.args)
    with connected() as connection:
        count = operations.effects.count(connection, chosen, results.CAP + 1)
        one = next(iter(operations.effects.listed(connection, chosen, 1)), None) if chosen.ids else None
    return render_template(
        "outbox_admin/effect_question.html",
        chosen=chosen,
        drops=what == DROP,
        what=what,
        count=count,
        cap=results.CAP,
        one=one,
    )


def change() -> ResponseReturnValue:
    """Have them called again, or never."""
    csrf.check()
    chosen, what = _meant(request.form)
    with operations.transaction(engine()) as connection:
        do = drop if what == DROP else run_again
        count = do(connection, chosen, by=actor(), note=filter_form.note(request.form))
    log.info("status=effects-%s by=%r name=%r count=%d", what, actor(), chosen.name, count)
    if not count:
        result = results.Result("Nothing was changed: it was done meanwhile.", good=False)
    elif what == DROP:
        result = results.Result(f"{_calls(count)} dropped: they will not be made.")
    else:
        result = results.Result(f"{_calls(count)} due now: a worker makes them.")
    return done.leading_to(url_for(".effects"), result)


def _calls(count: int) -> str:
    return "One call is" if count == 1 else f"{count:,} calls are"


def _chosen(given: Mapping[str, str]) -> Chosen:
    name = given.get("name", "").strip()[:_LONGEST_NAME] or None
    return Chosen(settings().environment, name)


def _meant(given: Mapping[str, str]) -> tuple[Chosen, str]:
    """Those of one name, or a single one; and what is to become of them. Aborts for anything else."""
    what, number = given.get("what", ""), given.get("id", "")
    if what not in (RUN, DROP):
        abort(400, "Choose whether they are to be called again or dropped.")
    chosen = _chosen(given)
    if number.isascii() and number.isdecimal() and len(number) < 19:
        return Chosen(chosen.environment, ids=(int(number),)), what
    if number or chosen.name is None:
        abort(400, "Name the handler or webhook, or one of its calls.")
    return chosen, what


VIEWS = (
    ("/effects", "effects", "GET", (Right.VIEW,), shown),
    ("/effects/question", "ask_to_change_effects", "GET", (Right.VIEW, Right.ACT), ask_to_change),
    ("/effects/change", "change_effects", "POST", (Right.VIEW, Right.ACT), change),
)
