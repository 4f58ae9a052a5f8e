"""Suppressions: which addresses get no mail, and why one gets none; suppress an address, and lift it."""

from __future__ import annotations

from collections.abc import Mapping

from flask import abort, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from outbox import operations
from outbox.core.errors import MessageError
from outbox.core.loggers import get_logger
from outbox.delivery.suppression import ALL, Why, described
from outbox.message.addresses import parse
from outbox.operations import suppression_search, suppressions, why_nothing
from outbox.web import csrf, done, filter_form, results, template_helpers
from outbox.web.current import connected, engine, kinds_defined, settings
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")

PAGE = 50
SPANS = {"": "for good", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
FIELDS = ("search", "scope", "reason")


def shown() -> ResponseReturnValue:
    """The list, the newest first; for a whole address all that is known of it."""
    return _page(request.args)


def _page(typed: Mapping[str, str], error: str | None = None) -> str:
    asked = {name: word for name in FIELDS if (word := request.args.get(name, "").strip()[: filter_form.MAX_WORD])}
    before = filter_form.cursor(request.args.get("before"))
    try:
        wanted = suppression_search.wanted_by(asked.get("search", ""), asked.get("scope"), asked.get("reason"))
    except ValueError:
        abort(400, f"That is not a reason. The reasons are: {', '.join(Why)}.")
    key = settings().address_digest_key
    with connected() as connection:
        report = None if wanted.address is None else why_nothing.look_up(connection, wanted.address, address_key=key)
        listed = suppression_search.search(connection, wanted, address_key=key, before=before, limit=PAGE)
    return render_template(
        "outbox_admin/suppressions.html",
        listed=listed,
        report=report,
        asked=asked,
        before=before,
        reasons=list(Why),
        scopes=_scopes(),
        spans=SPANS,
        described=described,
        typed={name: typed.get(name, "") for name in ("address", "of", "for", "note")},
        error=error,
    )


def _scopes() -> dict[str, str]:
    """What the form offers."""
    kinds = sorted(kinds_defined(), key=lambda one: one.name)
    categories = dict.fromkeys(str(one.category) for one in kinds if one.category)
    return {
        ALL: "all mail",
        **{f"category:{name}": f"the category {name}" for name in sorted(categories)},
        **{f"kind:{one.name}": f"the kind {one.name}" for one in kinds},
    }


def suppress() -> ResponseReturnValue:
    """Put an address on the list."""
    csrf.check()
    form = request.form
    try:
        address = parse(form.get("address", ""), "address").envelope
        scope = suppressions.check_scope(form.get("of") or ALL)
        span = filter_form.age(form.get("for") or None)
        with operations.transaction(engine()) as connection:
            suppressions.suppress(
                connection,
                address,
                scope,
                by=actor(),
                address_key=settings().address_digest_key,
                note=filter_form.note(form),
                seconds=None if span is None else span.total_seconds(),
            )
    except (MessageError, ValueError, BadRequest) as error:
        words = str(error.description) if isinstance(error, BadRequest) else str(error)
        return _page(form, template_helpers.sentence(words)), 400
    log.info("status=suppressed by=%r scope=%r", actor(), scope)
    said = f"{address} gets no more mail of this scope: {described(scope)}."
    return done.leading_to(url_for(".suppressions", search=address), results.Result(said))


def ask_to_lift(id: int) -> ResponseReturnValue:
    """What lifting would do, with a button that does it."""
    with connected() as connection:
        entry = suppressions.entry(connection, id)
    if entry is None:
        abort(404, "That suppression is not there any more: it was lifted, or it was removed after its end.")
    return render_template("outbox_admin/lift.html", entry=entry, described=described)


def lift(id: int) -> ResponseReturnValue:
    """Take one entry off the list."""
    csrf.check()
    with operations.transaction(engine()) as connection:
        entry = suppressions.lift_entry(connection, id, by=actor(), note=filter_form.note(request.form))
    if entry is None:
        result = results.Result("Nothing was changed: that suppression is not there any more.", good=False)
        return done.leading_to(url_for(".suppressions"), result)
    log.info("status=unsuppressed by=%r scope=%r", actor(), entry.scope)
    said = f"{entry.address or 'The address'} may get {described(entry.scope)} again."
    return done.leading_to(url_for(".suppressions", search=entry.address), results.Result(said))


VIEWS = (
    ("/suppressions", "suppressions", "GET", (Right.VIEW,), shown),
    ("/suppress", "suppress", "POST", (Right.VIEW, Right.ACT), suppress),
    ("/suppressions/<int:id>/question", "ask_to_lift", "GET", (Right.VIEW, Right.ACT), ask_to_lift),
    ("/suppressions/<int:id>/lift", "lift", "POST", (Right.VIEW, Right.ACT), lift),
)
