"""The reference application: accounts whose mail is guaranteed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from jinja2 import ChoiceLoader, FileSystemLoader
from werkzeug.middleware.proxy_fix import ProxyFix

from app import admin, cli, db, errors, links, lists, security, webhooks, words
from app.config import ROOT, check, database_url, load, secret_key
from app.extensions import csrf, login_manager, mail


def create_app(
    config: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    instance_path: str | None = None,
) -> Flask:
    """The application.

    `config` goes over what `environ` says (default: the process's environment on top of `.env`, see config.py).
    `instance_path`: absolute; where the default database and the secret key live. Raises SettingsError.
    """
    app = Flask(__name__, instance_path=instance_path)
    _configure(app, config or {}, environ)
    app.jinja_loader = ChoiceLoader(
        [FileSystemLoader(ROOT / "app" / "templates"), FileSystemLoader(ROOT / "templates")]
    )
    app.jinja_env.globals["external_url"] = links.external_url
    app.jinja_env.filters["duration"] = words.duration
    if app.config["FLASKY_PROXIES"]:
        count = app.config["FLASKY_PROXIES"]
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    db.init_app(app)
    lists.init_app(app)
    mail.init_app(app, session=db.get_session)
    login_manager.init_app(app)
    csrf.init_app(app)
    security.init_app(app)
    errors.init_app(app)
    _register_views(app)
    admin.init_app(app)
    webhooks.init_app(app)
    cli.init_app(app)
    return app


def _configure(app: Flask, given: Mapping[str, Any], environ: Mapping[str, str] | None) -> None:
    instance = Path(app.instance_path)
    app.config.update(load(environ, instance=instance))
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        MAX_CONTENT_LENGTH=1024 * 1024,
    )
    app.config.update(given)
    app.config["DATABASE_URL"] = database_url(app.config["DATABASE_URL"])
    check(app.config)
    if app.config["APP_ENV"] == "development":
        app.config["TEMPLATES_AUTO_RELOAD"] = True  # what `make run` serves is not in debug mode
    if app.config["SESSION_COOKIE_SECURE"] is None:
        app.config["SESSION_COOKIE_SECURE"] = app.config["APP_ENV"] != "development" and not app.debug
    if not app.config["SECRET_KEY"]:
        app.config["SECRET_KEY"] = secret_key(instance / "secret_key")


def _register_views(app: Flask) -> None:
    from app.auth import blueprint as auth
    from app.main import blueprint as main

    app.register_blueprint(main)
    app.register_blueprint(auth, url_prefix="/auth")
