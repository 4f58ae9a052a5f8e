"""No page without an entry in the table of who may do what."""

from __future__ import annotations

from flask import Flask

import outbox.web
from tests.web.routes import LOOK, ROUTES


def routes_of_the_pages() -> set[tuple[str, str]]:
    app = Flask(__name__)
    app.register_blueprint(outbox.web.blueprint(), url_prefix="/outbox")
    return {
        (rule.endpoint.removeprefix("outbox_admin."), method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("outbox_admin.") and not rule.endpoint.endswith(".static")
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }


def test_every_route_is_named() -> None:
    """A new page says in tests/web/routes.py which rights it needs, what it shows and changes."""
    there = routes_of_the_pages()
    assert there - ROUTES.keys() == set(), "add these to ROUTES in tests/web/routes.py"
    assert ROUTES.keys() - there == set(), "take these out of ROUTES in tests/web/routes.py"


def test_every_entry_needs_the_right_to_look() -> None:
    """No right counts without it, and what shows a mail or changes it names one more."""
    for (endpoint, method), routes in ROUTES.items():
        for route in routes:
            assert LOOK in route.needs, endpoint
            assert method == "POST" or not route.changes, f"{endpoint}: GET never changes anything"
            assert len(route.needs) > 1 or not (route.changes or method == "POST"), endpoint
