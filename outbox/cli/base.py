"""What all commands share: the application's outbox, errors without tracebacks, safe output, JSON."""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from functools import wraps
from typing import Any, TypeVar

import click
from flask import Flask, current_app, has_app_context
from flask.cli import ScriptInfo, with_appcontext

from outbox.cli.console import Console
from outbox.cli.text import Text
from outbox.clock import UNREADABLE
from outbox.errors import NotBoundError, OutboxError
from outbox.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

CANNOT = 2
"""Exit code: the command could not do its work (not configured, no database, not migrated, wrong use)."""


class Failure(click.ClickException):
    """The command could not do its work: one clear message on stderr, no traceback."""

    exit_code = CANNOT

    def __init__(self, message: str) -> None:
        super().__init__(safe_lines(message))


class No(Failure):
    """The command did its work, and the answer is no."""

    exit_code = 1


def in_app(function: Command) -> Command:
    """Run a command in its application's context; what is expected to fail fails with one message and exit code 2.

    Anything else keeps its traceback, but also ends in 2: to a monitor 1 means "degraded", which nobody found out.
    """
    inner = with_appcontext(function)

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with failures_told():
            _load_app()
            return inner(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


@contextmanager
def failures_told() -> Iterator[None]:
    """Turns what the block raises into `Failure`."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except OutboxError as error:
        raise Failure(str(error)) from error
    except Exception as error:
        if not hasattr(error, "faults"):  # an application's own "not configured", told as ConfigurationError is
            traceback.print_exc()
        raise Failure(str(error) or type(error).__name__) from error


def extension() -> Any:
    """The application's `Outbox`. Raises NotBoundError."""
    app = application()
    try:
        return app.extensions["outbox"]
    except KeyError:
        raise NotBoundError(
            f"The application {app.name!r} has no outbox. Call `Outbox().init_app(app)` where it is made."
        ) from None


def application() -> Flask:
    """The application itself, not its proxy."""
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]


def database() -> Any:
    """The engine by which workers and commands reach the outbox."""
    return extension().database(application())


def settings() -> Settings:
    """The outbox's configuration. Raises ConfigurationError."""
    found: Settings = extension().settings(application())
    return found


def console() -> Console:
    """Where people read: colour and the terminal's width on a terminal, plain lines that are not broken in a pipe."""
    stream = sys.stdout
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not end the command
    return Console(stream)


def say(words: str) -> None:
    """One line of result on stdout; on a terminal it goes on at a word."""
    console().print(Text(safe(words)))


def on_terminal() -> bool:
    """Whether a person sits there who can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def who() -> str:
    """Who does it, for the audit: the system's user, the one before sudo, at this host."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a number without a name, in a container
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def ask(question: str, *, yes: bool) -> None:
    """Ask the person who sits there, unless `yes`; ends the command where the answer is no."""
    if not yes and on_terminal():
        click.confirm(safe_lines(question), abort=True, err=True)


def safe(text: object) -> str:
    """`text` on one line, with everything escaped that a terminal could obey: it came from anywhere."""
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(char if char.isprintable() else _escaped(char) for char in plain)


def safe_lines(text: str) -> str:
    """The same for text whose line breaks are ours."""
    return "\n".join(safe(line) for line in text.split("\n"))


def print_json(value: object) -> None:
    """One JSON value on stdout, pure ASCII, so that it holds nothing a terminal could obey."""
    click.echo(json.dumps(plain(value), indent=2))


def plain(value: object) -> Any:
    """`value` in JSON's types: dates as ISO 8601 in UTC, enums by their value, dataclasses as objects."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return None if value == UNREADABLE else value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 3)
    return value


def _load_app() -> None:
    if not has_app_context():
        click.get_current_context().ensure_object(ScriptInfo).load_app()


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
