"""The smallest application with the admin's pages, on a port of its own: who may what is said by the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from werkzeug.serving import make_server

import outbox.web
from outbox import Outbox


@dataclass
class Rights:
    """What whoever asks may do; a test changes it between requests."""

    view: bool = True
    read_bodies: bool = True
    act: bool = True
    send_now: bool = True
    erase: bool = True


@dataclass
class Site:
    """An application and what it allows."""

    app: Flask
    rights: Rights = field(default_factory=Rights)
    url: str = ""  # of the pages, while it is served

    def close(self) -> None:
        """Let go of the database."""
        self.app.extensions["outbox"].database(self.app).dispose()


def bare(url: str, **config: Any) -> Flask:
    """An application with an outbox on the database at `url`, and no pages."""
    app = Flask("site")
    app.config.update(SECRET_KEY="a key of the tests", SESSION_COOKIE_SAMESITE="Lax", OUTBOX_DATABASE_URL=url, **config)
    Outbox().init_app(app)
    return app


def site(url: str, blueprint: dict[str, Any] | None = None, **config: Any) -> Site:
    """An application with the pages under /admin/outbox. `blueprint`: more of its arguments."""
    made = Site(bare(url, **config))
    pages = outbox.web.blueprint(
        may_view=lambda: made.rights.view,
        may_read_bodies=lambda: made.rights.read_bodies,
        may_act=lambda: made.rights.act,
        may_send_now=lambda: made.rights.send_now,
        may_erase=lambda: made.rights.erase,
        actor=lambda: "ann@example.org",
        **(blueprint or {}),
    )
    made.app.register_blueprint(pages, url_prefix="/admin/outbox")
    return made


@contextmanager
def serving(made: Site) -> Iterator[Site]:
    """The same over HTTP on 127.0.0.1; closed at the end."""
    server = make_server("127.0.0.1", 0, made.app, threaded=True)
    made.url = f"http://127.0.0.1:{server.server_port}/admin/outbox"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        made.close()
