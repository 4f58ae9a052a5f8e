"""The outbox's pages, for administrators of this application."""

from __future__ import annotations

from flask import Flask, abort, current_app
from flask_login import current_user

import outbox.web
from app.extensions import login_manager

PREFIX = "/admin/outbox"


def init_app(app: Flask) -> None:
    """Mount the pages under /admin/outbox."""
    pages = outbox.web.blueprint(
        may_view=is_admin,
        may_read_bodies=is_admin,
        may_act=is_admin,
        may_send_now=is_admin,
        actor=lambda: current_user.email if current_user.is_authenticated else None,
        site_name=lambda: current_app.config["FLASKY_NAME"],
        home="main.home",
        logout="auth.logout",
    )
    app.register_blueprint(pages, url_prefix=PREFIX)
    app.context_processor(lambda: {"admin_url": PREFIX + "/"})


def is_admin() -> bool:
    """Whether an administrator sent this request; one who is not logged in is sent to the log-in page."""
    if not current_user.is_authenticated:
        abort(login_manager.unauthorized())
    return bool(current_user.is_admin)
