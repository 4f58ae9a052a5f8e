"""The outbox's pages and the previews of mail, for administrators of this application."""

from __future__ import annotations

import importlib

from flask import Flask, abort, current_app
from flask_login import current_user

import outbox.web
from app.extensions import login_manager

PREFIX = "/admin/outbox"
PREVIEWS = "/admin/previews"


def init_app(app: Flask) -> None:
    """Mount the pages under /admin/outbox, the previews under /admin/previews."""
    pages = outbox.web.blueprint(
        may_view=is_admin,
        may_read_bodies=is_admin,
        may_act=is_admin,
        may_send_now=is_admin,
        may_erase=is_admin,
        actor=_address,
        site_name=lambda: current_app.config["FLASKY_NAME"],
        home="main.home",
        logout="auth.logout",
    )
    app.register_blueprint(pages, url_prefix=PREFIX)
    importlib.import_module("app.samples")
    previews = outbox.web.preview_blueprint(may_view=may_preview, may_send=may_preview, me=_address)
    app.register_blueprint(previews, url_prefix=PREVIEWS)
    app.context_processor(lambda: {"admin_url": PREFIX + "/"})


def is_admin() -> bool:
    """Whether an administrator sent this request; one who is not logged in is sent to the log-in page."""
    if not current_user.is_authenticated:
        abort(login_manager.unauthorized())
    return bool(current_user.is_admin)


def may_preview() -> bool:
    """Whether the previews are shown: to everybody in development, elsewhere to administrators."""
    return current_app.config["APP_ENV"] == "development" or is_admin()


def _address() -> str | None:
    return current_user.email if current_user.is_authenticated else None
