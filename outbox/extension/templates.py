"""The text and HTML of a message, from a pair of Jinja templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, TemplateNotFound

from outbox.core.errors import TemplateError


def render(
    source: Environment | Callable[..., str], template: str, context: dict[str, Any]
) -> tuple[str | None, str | None]:
    """(text, html) from `template` + ".txt" and ".html"; None for the one that is missing.

    `source` is a Jinja environment or a callable like `flask.render_template`. Raises TemplateError if both are
    missing; what a template itself raises comes through.
    """
    text, html = (_rendered(source, template + ending, context) for ending in (".txt", ".html"))
    if text is None and html is None:
        raise TemplateError(
            "template",
            f"neither {template}.txt nor {template}.html exists",
            "Check the name (without its ending) and the folder that the application's templates are in.",
        )
    return text, html


def _rendered(source: Environment | Callable[..., str], name: str, context: dict[str, Any]) -> str | None:
    if isinstance(source, Environment):
        try:
            template = source.get_template(name)
        except TemplateNotFound:
            return None
        return template.render(context)
    try:
        return source(name, **context)
    except TemplateNotFound as error:
        if error.name != name:  # something that the template includes or extends
            raise
        return None
