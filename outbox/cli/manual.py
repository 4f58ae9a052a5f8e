"""The manual page, made from the commands themselves: `python -m outbox.cli.manual > docs/outbox.1.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

import outbox.cli
from outbox.cli.words import FILTER_NAMES

HEAD = """\
# outbox(1)

<!-- made by `python -m outbox.cli.manual`; the words stand in the commands -->

## NAME

outbox - send, watch and mend the mail of a Flask application

## SYNOPSIS

{synopsis}

## DESCRIPTION

The commands of the outbox, on `python manage.py` of the reference application and on the `flask` of every application
that has the package installed. What is counted, listed and changed are deliveries, one recipient of one message; the
commands call them mails. More on each, with what it prints, stands in [commands.md](commands.md).

## COMMANDS
"""

FILTERS = """\
## FILTERS

Where a synopsis says FILTERS; all that are given must hold. TIME is a number and a unit: 30s, 15m, 2h, 7d, 1h30m.
"""

TAIL = """\
## EXIT STATUS

**0**
:   Done; healthy.

**1**
:   Done, and the answer is no: degraded, a check failed, one of the mails could not be changed, or the person said no.

**2**
:   Could not be done: wrong use, not configured, the database is down or not migrated.

## ENVIRONMENT

The settings, in [configuration.md](configuration.md). `NO_COLOR` takes the colour off a terminal.

## SEE ALSO

[commands.md](commands.md), [configuration.md](configuration.md), [guarantees.md](guarantees.md)
"""


def manual() -> str:
    """The page, in Markdown."""
    commands = sorted((getattr(outbox.cli, name) for name in outbox.cli.__all__), key=lambda one: str(one.name))
    synopsis = "\n\n".join(f"**{command.name}** {_usage(command)}".rstrip() for command in commands)
    return "\n".join(
        (
            HEAD.format(synopsis=synopsis),
            *(part for command in commands for part in _command(command)),
            FILTERS,
            *(_option(option) for option in _filters()),
            TAIL,
        )
    )


def _command(command: click.Command) -> Iterator[str]:
    words, _, example = inspect.cleandoc(command.help or "").partition("\n\b\n")
    yield f"### {command.name}\n"
    yield f"{words.strip()}\n"
    yield from (_option(option) for option in _options(command) if not _is_filter(option))
    yield "For example:\n"
    yield "\n".join(f"    {line.strip()}" for line in example.splitlines()[1:]) + "\n"


def _option(option: click.Option) -> str:
    named = ", ".join(f"**{name}**" for name in option.opts)
    value = "" if option.is_flag else f" *{_value(option)}*"
    default = f" Default: {option.default}." if option.show_default else ""
    return f"{named}{value}\n:   {option.help}{default}\n"


def _value(parameter: click.Parameter) -> str:
    """As click's `make_metavar`, whose arguments changed between its versions."""
    if isinstance(parameter.type, click.Choice):
        return "|".join(parameter.type.choices)
    name = parameter.metavar or str(parameter.name).upper()
    return f"[{name}]..." if parameter.nargs == -1 else name


def _usage(command: click.Command) -> str:
    arguments = [f"*{_value(one)}*" for one in command.params if isinstance(one, click.Argument)]
    filters = ["[*FILTERS*]"] if any(_is_filter(option) for option in _options(command)) else []
    return " ".join([*arguments, *filters, "[*OPTIONS*]"])


def _is_filter(option: click.Option) -> bool:
    """One that the commands share; another command's option may have the same name in its code."""
    return any(option.name == one.name and option.opts == one.opts for one in _filters())


def _filters() -> list[click.Option]:
    return [option for option in _options(outbox.cli.list_) if option.name in FILTER_NAMES]


def _options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)]


if __name__ == "__main__":
    click.echo(manual(), nl=False)
