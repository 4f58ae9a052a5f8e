"""The admin's pages: a blueprint that any Flask application mounts with its own checks. Access is denied by default.

    from outbox.web import blueprint

    def is_admin():
        return current_user.is_authenticated and current_user.is_admin

    pages = blueprint(
        may_view=is_admin,
        may_read_bodies=is_admin,
        may_act=is_admin,
        may_send_now=is_admin,
        may_erase=is_admin,
        actor=lambda: current_user.email,
    )
    app.register_blueprint(pages, url_prefix="/admin/outbox")

A check runs within the request. It returns whether the user has the right, or aborts with a response of its own,
such as a redirect to the log-in page. The application needs a SECRET_KEY, for the token that guards every change.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint

from outbox.web import (
    actions,
    batches,
    content,
    correcting,
    done,
    effects,
    errors,
    export,
    figures,
    headers,
    history,
    overview,
    pages,
    pauses,
    person,
    repeating,
    suppressions,
    template_helpers,
    workers,
)
from outbox.web.events import events_blueprint
from outbox.web.health import health_blueprint
from outbox.web.previews import preview_blueprint
from outbox.web.rights import Actor, Check, Right, Rights, no_name, nobody
from outbox.web.standing import Place, Standing
from outbox.web.unsubscribing import unsubscribe_blueprint

__all__ = [
    "Actor",
    "Check",
    "Right",
    "Rights",
    "blueprint",
    "events_blueprint",
    "health_blueprint",
    "preview_blueprint",
    "unsubscribe_blueprint",
]


_VIEWS = (
    *overview.VIEWS,
    *export.VIEWS,
    *figures.VIEWS,
    *pages.VIEWS,
    *content.VIEWS,
    *actions.VIEWS,
    *correcting.VIEWS,
    *pauses.VIEWS,
    *suppressions.VIEWS,
    *effects.VIEWS,
    *batches.VIEWS,
    *history.VIEWS,
    *repeating.VIEWS,
    *workers.VIEWS,
    *person.VIEWS,
)


def blueprint(
    *,
    may_view: Check = nobody,
    may_read_bodies: Check = nobody,
    may_act: Check = nobody,
    may_send_now: Check = nobody,
    may_erase: Check = nobody,
    actor: Actor = no_name,
    name: str = "outbox_admin",
    site_name: str | Callable[[], str | None] | None = None,
    home: Place = None,
    logout: Place = None,
) -> Blueprint:
    """The pages, to be registered once under a prefix of the application's choice.

    `may_view`: the queue, envelopes, replies. `may_read_bodies`: also what the mail says; it may hold live tokens.
    `may_act`: requeue, cancel, mark as sent, pause; together with `may_read_bodies` also correct a recipient, since
    that shows the mail to another address. `may_send_now`: make deferred and scheduled mail due at once. `may_erase`:
    look an address up and erase it; together with `may_read_bodies` also export it. All count only together with the
    first. `actor`: the name that the history keeps for a change. `name`: the blueprint's, if
    `outbox_admin` is taken. `site_name`: shown beside "Outbox". `home`: the way back to the application; `logout`:
    where a POST logs out. Each is an address, the name of an endpoint, or a function that gives an address.
    """
    rights = Rights(may_view, may_read_bodies, may_act, actor, may_send_now, may_erase)
    made = Blueprint(name, __name__, template_folder="templates", static_folder="static", static_url_path="/static")
    for rule, endpoint, method, needed, view in _VIEWS:
        made.add_url_rule(rule, endpoint, rights.guard(view, *needed), methods=[method])
    headers.install(made)
    errors.install(made)
    template_helpers.install(made)
    standing = Standing(site_name, home, logout)
    made.context_processor(lambda: {"outbox_site": standing, "said": done.said})
    return made
