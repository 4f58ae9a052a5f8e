"""A message from a pair of Jinja templates: its text and its HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import flask
from jinja2 import Environment, TemplateNotFound

from outbox.core.errors import TemplateError
from outbox.extension import locales
from outbox.extension.errors import as_in_flask_mail
from outbox.extension.flask_mail import Address, Message, recipients_of
from outbox.message.coerce import text_of


@as_in_flask_mail
def message_of(to: Address | Iterable[Address], subject: object, template: str, context: dict[str, Any]) -> Message:
    """The message of `Outbox.compose_email`. With a `locale` in `context` its subject is read under that, now."""
    tag = locales.tag_of(context.get("locale"))
    with locales.under(tag):
        text, html = render(flask.render_template, template, context, locales.endings(tag))
        message = Message(
            text_of(subject, "subject") if tag is not None and subject is not None else subject,  # type: ignore[arg-type]
            recipients=recipients_of(to),
            body=text,
            html=html,
        )
    message.locale = tag
    return message


def render(
    source: Environment | Callable[..., str], template: str, context: dict[str, Any], endings: Iterable[str] = ("",)
) -> tuple[str | None, str | None]:
    """(text, html) from `template` + ".txt" and ".html"; None for the one that is missing.

    `source` is a Jinja environment or a callable like `flask.render_template`. `endings`: what to try between the name
    and ".txt" or ".html"; the first with either is used for both, so that no message is in two languages. Raises
    TemplateError if there is none; what a template itself raises comes through.
    """
    for ending in endings:
        text, html = (_rendered(source, f"{template}{ending}{kind}", context) for kind in (".txt", ".html"))
        if text is not None or html is not None:
            return text, html
    raise TemplateError(
        "template",
        f"neither {template}.txt nor {template}.html exists",
        "Check the name (without its ending) and the folder that the application's templates are in.",
    )


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
