"""/healthz, /readyz and /metrics of a web process, for orchestrators and Prometheus."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from flask import Blueprint, Flask, Response, abort, request

from outbox.core.errors import ConfigurationError
from outbox.monitoring import prometheus
from outbox.monitoring.readiness import Readiness
from outbox.web.current import application, engine, settings
from outbox.web.rights import Check, Right, granted, nobody


def health_blueprint(*, may_view: Check = nobody, token: str | None = None, name: str = "outbox_health") -> Blueprint:
    """`/healthz`, `/readyz` and `/metrics`, to be registered once under a prefix of the application's choice.

    `/healthz` and `/readyz` are open, since orchestrators can't log in, and say nothing but whether this process runs,
    and whether its database answers and is migrated. `/metrics` is closed unless `may_view()` says yes, or the request
    brings `token` (`Authorization: Bearer …`). It has what the database knows; what workers count stands on their own
    port (OUTBOX_METRICS_PORT). Raises ValueError for an empty token.
    """
    if token is not None and not token.strip():
        raise ValueError("token= is empty, and would let everybody in. Is its environment variable set?")
    made = Blueprint(name, __name__)
    sources: WeakKeyDictionary[Flask, _Sources] = WeakKeyDictionary()

    def here() -> _Sources:
        app = application()
        if app not in sources:
            sources[app] = _Sources(Readiness(engine()), prometheus.Queue(engine(), settings()))
        return sources[app]

    def healthz() -> Response:
        return _plain(None)

    def readyz() -> Response:
        return _plain(here().ready())

    def exposed() -> Response:
        if not (_brings(token) or granted(may_view, Right.VIEW)):
            abort(403)
        try:
            page, kind = prometheus.exposition(here().queue)
        except ConfigurationError as error:
            return Response(f"{error}\n", 501, content_type="text/plain; charset=utf-8")
        return Response(page, content_type=kind, headers={"Cache-Control": "no-store"})

    views: tuple[tuple[str, Callable[[], Any]], ...] = (("healthz", healthz), ("readyz", readyz), ("metrics", exposed))
    for rule, view in views:
        made.add_url_rule(f"/{rule}", rule, view)
    return made


@dataclass(frozen=True, slots=True)
class _Sources:
    """What one application asks: kept, so that answers are good for some seconds."""

    ready: Readiness
    queue: prometheus.Queue


def _brings(token: str | None) -> bool:
    given = request.headers.get("Authorization", "")
    return token is not None and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def _plain(wrong: str | None) -> Response:
    code, words = (200, "ok") if wrong is None else (503, wrong)
    return Response(f"{words}\n", code, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})
