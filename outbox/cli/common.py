"""What all commands share: the application's outbox, errors without tracebacks, questions."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import click
from flask import Flask, current_app, has_app_context
from flask.cli import ScriptInfo, with_appcontext
from sqlalchemy import Engine

from outbox.cli.command import Declined, Failure
from outbox.cli.console import Console
from outbox.cli.output import safe
from outbox.cli.text import Text
from outbox.core.errors import OutboxError
from outbox.extension.outbox import Outbox, outbox_of
from outbox.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


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


def extension() -> Outbox:
    """The application's `Outbox`. Raises NotBoundError."""
    return outbox_of(application())


def application() -> Flask:
    """The application itself, not its proxy."""
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]


def database() -> Engine:
    """The engine by which workers and commands reach the outbox."""
    return extension().database(application())


def replica() -> Engine:
    """The engine by which commands read that change nothing."""
    return extension().reading_database(application())


def settings() -> Settings:
    """The outbox's configuration. Raises ConfigurationError."""
    return extension().settings(application())


def console() -> Console:
    """Where people read: colour and the terminal's width on a terminal, plain lines that are not broken in a pipe."""
    stream = sys.stdout
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not end the command
    return Console(stream)


def say(words: str) -> None:
    """One line of the result on stdout; on a terminal it is wrapped at a word."""
    console().print(Text(safe(words)))


def remark(words: str) -> None:
    """The same on stderr: what does not belong to the result."""
    Console(sys.stderr).print(Text(safe(words)))


def who() -> str:
    """Who runs the command, for the audit: the system's user (the one before sudo) at this host."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a number without a name, in a container
        user = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"


def ask(question: str, *, yes: bool) -> None:
    """Ask the person at the terminal, on stderr, unless `yes`; ends the command with 1 where the answer is no.

    Without a terminal there is nobody to ask, and the command fails.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Failure(
            f"{question} There is no terminal to ask on, so nothing was changed. Add --yes to do it, or --dry-run "
            "to see what it would do."
        )
    out = Console(sys.stderr)
    *lines, last = Text(f"{safe(question)} [y/N]:").wrapped(max(out.width - len(" y"), 1))
    for line in lines:
        out.print_line(line)
    if not click.confirm(last.plain, err=True, show_default=False, prompt_suffix=" "):
        raise Declined("Nothing was changed.")


def _load_app() -> None:
    if not has_app_context():
        click.get_current_context().ensure_object(ScriptInfo).load_app()
