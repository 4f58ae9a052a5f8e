"""Two templates become a text and an HTML."""

from __future__ import annotations

import flask
import jinja2
import pytest

from outbox.core.errors import TemplateError
from outbox.extension.templates import render


@pytest.fixture
def environment() -> jinja2.Environment:
    """Templates in all combinations."""
    templates = {
        "both.txt": "Hello {{ name }}",
        "both.html": "<p>{{ name }}</p>",
        "text.txt": "x",
        "html.html": "<p>",
        "broken.txt": "{% include 'missing.txt' %}",
    }
    return jinja2.Environment(loader=jinja2.DictLoader(templates), autoescape=jinja2.select_autoescape())


def test_templates_are_rendered(environment: jinja2.Environment) -> None:
    """Text and HTML, either of which may be missing."""
    assert render(environment, "both", {"name": "<Ann>"}) == ("Hello <Ann>", "<p>&lt;Ann&gt;</p>")
    assert render(environment, "text", {}) == ("x", None)
    assert render(environment, "html", {}) == (None, "<p>")


def test_templates_that_are_both_missing_are_named(environment: jinja2.Environment) -> None:
    """With their endings; a template missing inside a template is an error of its own."""
    with pytest.raises(TemplateError, match=r"neither none\.txt nor none\.html exists"):
        render(environment, "none", {})
    with pytest.raises(jinja2.TemplateNotFound, match=r"missing\.txt"):
        render(environment, "broken", {})


def test_templates_are_rendered_by_flask_too(environment: jinja2.Environment) -> None:
    """`flask.render_template` brings the application's context processors."""
    app = flask.Flask(__name__)
    app.jinja_loader = environment.loader
    with app.app_context():
        assert render(flask.render_template, "both", {"name": "Ann"}) == ("Hello Ann", "<p>Ann</p>")
        assert render(flask.render_template, "html", {}) == (None, "<p>")
        with pytest.raises(TemplateError):
            render(flask.render_template, "none", {})
        with pytest.raises(jinja2.TemplateNotFound, match=r"missing\.txt"):
            render(flask.render_template, "broken", {})
