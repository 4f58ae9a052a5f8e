"""The options of `enqueue`: declared once, shown by `help()`, and no other name is taken."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import flask_mail
import pytest
from flask import Flask

from outbox import Outbox
from outbox.extension.options import EnqueueOptions, SharedOptions

EXTENSION = Path(inspect.getfile(Outbox)).parent
NAMES = list(EnqueueOptions.__annotations__)


@pytest.fixture
def outbox() -> Outbox:
    """In an application whose database nobody opens."""
    app = Flask(__name__)
    app.config.update(OUTBOX_DATABASE_URL="sqlite://", MAIL_SERVER="localhost")
    made = Outbox()
    made.init_app(app)
    made.app = app  # the current application, without a context
    return made


def test_each_option_is_declared_once() -> None:
    """As a field or parameter of its own, with its type, in one place of the extension.

    `send_email` has those three that the template's context must not take; `reschedule` has a time of its own.
    """
    declared: Counter[str] = Counter()
    for path in EXTENSION.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg):
                declared[node.arg] += node.annotation is not None
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                declared[node.target.id] += 1
    assert {name: declared[name] for name in ("priority", "expires_at", "on_uncertain", "metadata")} == {
        "priority": 1,
        "expires_at": 1,
        "on_uncertain": 1,
        "metadata": 1,
    }


def test_help_shows_each_option() -> None:
    """With its type and default, although the functions take them together."""
    one, many = (inspect.signature(function).parameters for function in (Outbox.enqueue, Outbox.enqueue_many))
    assert list(one)[3:] == NAMES
    assert list(many)[3:] == list(SharedOptions.__annotations__) == [name for name in NAMES if name != "key"]
    assert (one["priority"].default, one["key"].default, one["key"].annotation) == ("normal", None, "str | None")
    assert all(option.kind is inspect.Parameter.KEYWORD_ONLY for name, option in one.items() if name in NAMES)


@pytest.mark.parametrize("options", [{"prority": "high"}, {"kinds": "news"}])
def test_a_misspelt_option_is_an_error(outbox: Outbox, options: dict[str, Any]) -> None:
    """As for any function of Python: for one message, for many, and for one of many."""
    message = flask_mail.Message("s", ["a@example.org"], body="b", sender="b@example.org")
    (name,) = options
    with pytest.raises(TypeError, match=rf"enqueue\(\) got an unexpected keyword argument '{name}'"):
        outbox.enqueue(message, **options)
    with pytest.raises(TypeError, match=rf"enqueue_many\(\) got an unexpected keyword argument '{name}'"):
        outbox.enqueue_many([message], **options)
    with pytest.raises(TypeError, match=rf"enqueue\(\) got an unexpected keyword argument '{name}'"):
        outbox.enqueue_many([(message, options)])


def test_messages_do_not_share_a_key(outbox: Outbox) -> None:
    """A key is for one message: `enqueue_many` takes it with that only."""
    with pytest.raises(TypeError, match="'key'"):
        outbox.enqueue_many([], key="news")  # type: ignore[arg-type]
