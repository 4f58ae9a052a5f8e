"""Send a sample to an address, by the outbox: what a real mail program makes of it."""

from __future__ import annotations

from flask import request, url_for
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.errors import MessageError
from outbox.core.loggers import get_logger
from outbox.extension.previews import languages, make, write
from outbox.settings import Settings
from outbox.web import csrf, done
from outbox.web.current import engine
from outbox.web.preview_views import found_sample, locale_asked
from outbox.web.results import Result

log = get_logger("outbox.web")


def send(kind: str, name: str) -> ResponseReturnValue:
    """Enqueue it, to that address alone. Workers treat it as any message of its kind, in staging as well."""
    csrf.check()
    bound, sample = found_sample(kind, name)
    locale = locale_asked(languages(bound, sample))
    back = url_for(".sample", kind=kind, name=name, locale=locale)
    to = request.form.get("to", "").strip()
    if not to:
        return done.leading_to(back, Result("Give an address to send it to.", False))
    try:
        made = make(bound, sample, locale, to=to)
        with operations.session(engine()) as session:
            write(session, made)
    except MessageError as error:
        return done.leading_to(back, Result(f"It was not sent: {error}", False))
    log.info("status=sample-enqueued sample=%s message_id=%s", sample.id, made.composed.message_id)
    return done.leading_to(back, Result(f"Enqueued for {to}. {_what_comes(bound.settings, to)}", True))


def _what_comes(settings: Settings, to: str) -> str:
    """What the settings of a staging machine make of it."""
    if settings.redirect_to is not None:
        return f"OUTBOX_REDIRECT_TO sends it to {settings.redirect_to} instead."
    if settings.allow_recipients is not None and to not in settings.allow_recipients:
        return "It waits, shown as paused: OUTBOX_ALLOW_RECIPIENTS does not allow this address."
    return "A worker sends it."


VIEWS = (("/<kind>/<name>/send", "send", send),)
