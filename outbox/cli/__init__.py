"""The operators' commands, on `manage.py` and on every application's `flask` by the entry points in pyproject.toml."""

from __future__ import annotations

from importlib import import_module

import click


def __getattr__(name: str) -> click.Command:
    """A command, by the entry point of an installation that was made before `outbox.cli.commands`."""
    command = vars(import_module("outbox.cli.commands")).get(name)
    if not isinstance(command, click.Command):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return command
