#!/usr/bin/env python
"""Every command of the application and of the outbox: `python manage.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from flask.cli import FlaskGroup

sys.path.insert(0, str(Path(__file__).resolve().parent))

from app import create_app
from app.config import SettingsError
from outbox.cli import commands
from outbox.core.errors import ConfigurationError


class Commands(FlaskGroup):
    """Flask imports the commands of every installed package before it runs one; these are found without."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return self.commands.get(name) or super().get_command(context, name)


cli = Commands(name="manage.py", create_app=create_app, help="Run and look after the application.")
for command in commands.ALL.values():  # they are there without the package being installed
    cli.add_command(command)


def main() -> None:
    """Run a command; faults of the configuration are told without a traceback."""
    try:
        cli()
    except (SettingsError, ConfigurationError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
