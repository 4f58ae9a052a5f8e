"""The page behind the links in List-Unsubscribe. Looking at it changes nothing: scanners follow every link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.errors import OutboxError
from outbox.core.loggers import get_logger
from outbox.delivery.preferences import EVERYTHING, Preferences
from outbox.extension.state import bound_to
from outbox.extension.subscribing import listed, lists
from outbox.message.unsubscribe_link import PURPOSE, Unsubscribing, read
from outbox.operations.unsubscribing import LINK, Subscriber, told
from outbox.settings.secret_keys import derived
from outbox.web.current import application, connected, engine, settings
from outbox.web.unsubscribe_texts import texts

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = get_logger("outbox.web")

MOST_BYTES = 65_536
"""Of a form: RFC 8058 sends one short field, the page itself the names of its lists."""

_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


@dataclass(frozen=True, slots=True)
class Form:
    """What is posted: by a mail program, or by the page's own form."""

    one_click: bool = False  # a mail program's, whose answer nobody reads
    do: str = ""  # "undo" or "save"
    of_all: bool = False
    shown: list[str] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)  # of those


def unsubscribe_blueprint(*, name: str = "outbox_unsubscribe") -> Blueprint:
    """Where people unsubscribe, to be registered once at the path of OUTBOX_UNSUBSCRIBE_URL.

        csrf.exempt(unsubscribe := outbox.web.unsubscribe_blueprint())  # where CSRFProtect guards all forms
        app.register_blueprint(unsubscribe, url_prefix="/unsubscribe")

    It needs no log-in, session or cookie: the signed link is the proof. `name`: the blueprint's, if
    `outbox_unsubscribe` is taken.
    """
    made = Blueprint(name, __name__, template_folder="templates", static_folder="static", static_url_path="/static")
    made.add_url_rule("/<token>", "page", _page, methods=["GET"])
    made.add_url_rule("/<token>", "unsubscribe", _post, methods=["POST"])
    made.after_request(_headers)
    return made


def _page(token: str) -> ResponseReturnValue:
    wanted = _of(token)
    try:
        with connected() as connection:
            state = _subscriber(connection, wanted).preferences(_kind(wanted))
    except OutboxError as error:  # to unsubscribe may work in a moment, and the button is what people come for
        log.error("status=preferences-unreadable error=%s", error)
        return _shown("ask", wanted)
    return _shown("ask" if state[_kind(wanted)].on else "off", wanted, state)


def _post(token: str) -> ResponseReturnValue:
    """One-click (RFC 8058), or the page's own form."""
    wanted, form = _of(token), _form()
    scope = EVERYTHING if form.of_all else wanted.scope
    try:
        with operations.transaction(engine()) as connection:
            subscriber = _subscriber(connection, wanted)
            what = _change(subscriber, form, scope)
            state = None if form.one_click else subscriber.preferences(_kind(wanted))
    except OutboxError as error:
        log.error("status=unsubscribe-failed error=%s", error)
        return _shown("later", wanted), 503, {"Retry-After": "30"}
    told(engine(), subscriber.recorded)
    log.info("status=%s scope=%s new=%d", _STATUS[what], scope, len(subscriber.recorded))
    if state is None:  # no template: to compile it takes longer than all the rest
        return Response("Unsubscribed.\n", mimetype="text/plain")
    return _shown(what, wanted, state, of_all=form.of_all)


_STATUS = {"done": "unsubscribed", "back": "resubscribed", "saved": "preferences-saved"}


def _change(subscriber: Subscriber, form: Form, scope: str) -> str:
    """Do what the form says; what the page is to say."""
    if form.do == "undo":
        subscriber.subscribe(scope)
        return "back"
    if form.do == "save":
        _save(subscriber, form)
        return "saved"
    subscriber.unsubscribe(scope)
    return "done"


def _save(subscriber: Subscriber, form: Form) -> None:
    """Only what the page has shown, and what differs from that."""
    known = {one.kind: one.on for one in subscriber.preferences().of}
    shown = [kind for kind in dict.fromkeys(form.shown) if kind in known]
    for kind in shown:
        if kind in form.wanted and not known[kind]:
            subscriber.subscribe(f"kind:{kind}")
    for kind in shown:
        if kind not in form.wanted and known[kind]:
            subscriber.unsubscribe(f"kind:{kind}")


def _of(token: str) -> Unsubscribing:
    """What the link says. Aborts where it is none of ours."""
    wanted = read(token, derived(settings(), PURPOSE))
    if wanted is None:
        abort(Response(_shown("unknown", None), 404))
    return wanted


def _kind(wanted: Unsubscribing) -> str:
    return wanted.scope.partition(":")[2]


def _subscriber(connection: Connection, wanted: Unsubscribing) -> Subscriber:
    return Subscriber(connection, wanted.address, listed(bound_to(application())), LINK)


def _form() -> Form:
    """What the page's own form says. A body of unknown length is not read: to post is all that one-click does."""
    length = request.content_length
    if length is None:
        return Form()
    if length > MOST_BYTES:
        abort(413)
    form = request.form
    if form.get("List-Unsubscribe") == "One-Click":
        return Form(one_click=True)
    return Form(False, form.get("do", ""), form.get("scope") == "all", form.getlist("shown"), form.getlist("kind"))


def _shown(what: str, wanted: Unsubscribing | None, state: Preferences | None = None, *, of_all: bool = False) -> str:
    titles = {one.name: one.label for one in lists(bound_to(application()))}
    kind = _kind(wanted) if wanted else ""
    language, say = texts()
    return render_template(
        "outbox_unsubscribe/page.html",
        what=what,
        language=language,
        say=say,
        kind=kind,
        title=titles.get(kind, kind),
        address=_hinted(wanted.address) if wanted else "",
        mine=state[kind] if state else None,
        lists=_rows(state, titles),
        all_off=state is not None and state.all_off,
        of_all=of_all,
    )


def _rows(state: Preferences | None, titles: Mapping[str, str]) -> list[dict[str, object]]:
    """The application's lists. That of an old link may not be among them any more."""
    found = [one for one in (state.of if state else ()) if one.kind in titles]
    return [{"kind": one.kind, "title": titles[one.kind], "on": one.on, "held": one.held} for one in found]


def _hinted(address: str) -> str:
    """Enough of an address to know it again: mail is forwarded, with its links."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}"


def _headers(response: Response) -> Response:
    if not (request.endpoint or "").endswith(".static"):
        response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
