"""A command whose module is imported when the command is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class LazyCommand(click.Command):
    """A command that lists of commands know by its name and title alone.

    Flask loads every command of every package before it runs one. All that click asks of the command itself (its
    options, its full help, to run) is answered by the one that its module defines.
    """

    hidden = False
    deprecated = False

    def __init__(self, name: str, target: str, title: str) -> None:
        """`target`: "module:attribute". `title`: the first sentence of the command's help."""
        # click's own __init__ would set options and help, which then would not be asked of the command itself
        self.name = name
        self.short_help = title
        self._target = target

    def load(self) -> click.Command:
        """The command itself."""
        module, _, attribute = self._target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the command itself: from then on click knows only that."""
        return self.load().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As `make_context`, where this command is a whole program, as in tests."""
        return self.load().invoke(ctx)

    def get_short_help_str(self, limit: int = 0) -> str:
        """The whole title; the list of commands wraps a long one."""
        return str(self.short_help)

    def __getattr__(self, name: str) -> Any:
        """What is not set here: `params`, `help`, `callback` and the like."""
        if name.startswith("_target") or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(self.load(), name)
