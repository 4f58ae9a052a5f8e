"""The class of every command: how it fails, on a terminal, in a pipe and with --json."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import IO, Any, TextIO, cast

import click

from outbox.cli.console import Console
from outbox.cli.output import print_json, safe_lines, sentence
from outbox.cli.text import Text

CANNOT = 2
"""Exit code: the command could not do its work (not configured, no database, not migrated, wrong use)."""


SHORT_HELP = 80
"""How long a command's title may be in the list of commands; click cuts it at 45 characters."""


class Failure(click.ClickException):
    """The command could not do its work: one clear message on stderr, no traceback."""

    exit_code = CANNOT

    def __init__(self, message: str, *, value: object = None) -> None:
        """`value`: what --json prints instead of an object with `error`."""
        super().__init__(safe_lines(sentence(message)))
        self.value = value

    def show(self, file: IO[Any] | None = None) -> None:
        """On a terminal a long message is wrapped at a word."""
        Console(cast(TextIO, file or sys.stderr)).print(Text(f"Error: {self.format_message()}"))


class No(Failure):
    """The command did its work, and the answer is no."""

    exit_code = 1


class Declined(No):
    """The person at the terminal answered no."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Without calling it an error."""
        Console(cast(TextIO, file or sys.stderr)).print(Text(self.format_message()))


class WrongUse(Failure):
    """Arguments or options that the command can't take, shown with its usage."""

    def __init__(self, error: click.UsageError) -> None:
        super().__init__(error.format_message())
        self._ctx = error.ctx

    def show(self, file: IO[Any] | None = None) -> None:
        """The usage, where the help is, and what is wrong."""
        out = Console(cast(TextIO, file or sys.stderr))
        if self._ctx is not None:
            out.print(self._ctx.get_usage())
            out.print(f"Try '{self._ctx.command_path} --help' for help.\n")
        super().show(file)


class Command(click.Command):
    """A command of the outbox. With --json there is exactly one JSON value on stdout, also where it fails."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As in click; the options are not parsed yet, so --json is looked for among the words."""
        with _failing(as_json="--json" in args):
            return super().make_context(info_name, args, parent, **extra)

    def get_short_help_str(self, limit: int = SHORT_HELP) -> str:
        """Its whole title; the list of commands wraps a long one."""
        return super().get_short_help_str(max(limit, SHORT_HELP))

    def invoke(self, ctx: click.Context) -> Any:
        """As click's."""
        with _failing(as_json=_is_json(ctx.params)):
            return super().invoke(ctx)


def _is_json(params: MutableMapping[str, Any]) -> bool:
    return bool(params.get("as_json"))


@contextmanager
def _failing(*, as_json: bool) -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        raise _told(WrongUse(error), as_json=as_json) from error
    except Failure as failure:
        raise _told(failure, as_json=as_json) from failure.__cause__
    except (click.Abort, KeyboardInterrupt):
        if as_json:
            print_json({"error": "aborted", "exit_code": 1})
        raise


def _told(failure: Failure, *, as_json: bool) -> Failure:
    if as_json:
        print_json(failure.value or {"error": failure.message, "exit_code": failure.exit_code})
    return failure
