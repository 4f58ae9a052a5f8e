"""What providers report by webhooks: a blueprint with a path for each. A provider without its setting gets 404."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Flask, Response, request

from outbox.core import clock
from outbox.core.errors import OutboxError
from outbox.core.loggers import get_logger
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.operations.events import record
from outbox.settings import Settings
from outbox.web.current import engine, settings
from outbox.web.events.incoming import Incoming, RefusedError, UnavailableError
from outbox.web.events.providers import PROVIDERS, Provider

log = get_logger("outbox.web")

MOST_BYTES = 2**20
"""Of a request: SendGrid's batches have 768 KiB, messages of SNS 256."""

_NOT_WANTED = frozenset({EventType.OPENED, EventType.CLICKED})
_RETRY_SECONDS = 30
_MARK = "outbox_events_of"


def events_blueprint(*, name: str = "outbox_events") -> Blueprint:
    """What providers report of mail that their relays took, to be registered once under a prefix of your choice.

        csrf.exempt(events := outbox.web.events_blueprint())  # where Flask-WTF's CSRFProtect guards all forms
        app.register_blueprint(events, url_prefix="/outbox/events")

    The paths are `ses`, `sendgrid`, `mailgun`, `postmark`, `mailjet`, `brevo` and `resend`. Each is closed until its
    setting tells how its requests are verified, such as OUTBOX_SES_TOPICS. `name`: the blueprint's, if `outbox_events`
    is taken.
    """
    made = Blueprint(name, __name__)
    for provider in PROVIDERS:
        made.add_url_rule(f"/{provider.name}", provider.name, _view(provider), methods=["POST"])
    return made


def is_mounted(app: Flask) -> bool:
    """Whether the blueprint is registered in `app`."""
    return any(hasattr(view, _MARK) for view in app.view_functions.values())


def _view(provider: Provider) -> Callable[[], Response]:
    refusals = clock.Debounce(1.0)  # strangers may call as often as they like

    def view() -> Response:
        try:
            return _stored(provider, settings())
        except RefusedError as error:
            if refusals.passes():
                log.warning(
                    "status=webhook-refused provider=%s from=%s error=%s", provider.name, request.remote_addr, error
                )
            return _answer(f"refused: {error}", error.status)
        except (UnavailableError, OutboxError) as error:
            log.error("status=webhook-failed provider=%s error=%s", provider.name, error)
            return _answer("not now: send it again", 503)

    setattr(view, _MARK, provider.name)
    return view


def _stored(provider: Provider, configured: Settings) -> Response:
    if not provider.is_open(configured):
        raise RefusedError(f"{provider.setting} is not set", 404)
    wanted = [event for event in provider.read(_incoming(), configured) if _is_wanted(event, configured)]
    new = [one for one in record(engine(), configured, wanted) if one.id is not None] if wanted else []
    if new:
        log.info("status=webhook-recorded provider=%s new=%d of=%d", provider.name, len(new), len(wanted))
    return _answer(f"recorded: {len(new)} of {len(wanted)}", 200)


def _is_wanted(event: ReportedEvent, configured: Settings) -> bool:
    return configured.events_opened_clicked or event.type not in _NOT_WANTED


def _incoming() -> Incoming:
    """The request, its body not larger than a provider's. Raises RefusedError."""
    length = request.content_length
    if length is not None and length > MOST_BYTES:
        raise RefusedError("it is too large", 413)
    body = request.get_data() if length is not None else request.stream.read(MOST_BYTES + 1)  # in chunks
    if len(body) > MOST_BYTES:
        raise RefusedError("it is too large", 413)
    given = request.authorization
    user, password = (given.username, given.password) if given is not None and given.type == "basic" else (None, None)
    headers = {name.lower(): value for name, value in request.headers}
    return Incoming(body, headers, clock.utcnow(), user, password)


def _answer(words: str, status: int) -> Response:
    response = Response(f"{words}\n", status, content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="webhook"'
    if status == 503:
        response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response
