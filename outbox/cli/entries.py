"""The commands and their options as values, read from click's declarations: what every form of the manual says."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import click

from outbox.cli import commands
from outbox.cli.options import FILTER_NAMES

_FILTERS = "[FILTERS]"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is said about one command."""

    name: str
    title: str  # one line
    usage: list[str]  # its words: "ID", "[--note TEXT]", "[FILTERS]"
    paragraphs: list[str]
    options: list[tuple[str, str]]  # "--note TEXT", and what it is for
    examples: list[str]


def entries() -> list[Entry]:
    """All commands by their names."""
    return [_entry(commands.ALL[name].load()) for name in sorted(commands.ALL)]


def filters() -> list[tuple[str, str]]:
    """The options that the commands share."""
    return [(named(option), meaning(option)) for option in _filters()]


def named(option: click.Option) -> str:
    """ "--note TEXT"."""
    names = ", ".join(option.opts)
    return names if option.is_flag else f"{names} {_value(option)}"


def meaning(option: click.Option) -> str:
    """Its help, and its default where that is shown."""
    default = f" Default: {option.default:g}." if isinstance(option.default, float) else f" Default: {option.default}."
    return f"{option.help}{default if option.show_default else ''}"


def _entry(command: click.Command) -> Entry:
    words, _, example = inspect.cleandoc(command.help or "").partition("\n\b\n")
    title, *paragraphs = (" ".join(part.split()) for part in words.strip().split("\n\n"))
    own = _own(command)
    usage = [
        *(_value(one) for one in command.params if isinstance(one, click.Argument)),
        *([_FILTERS] if len(own) < len(_options(command)) else []),
        *(f"[{named(option)}]" for option in own),
    ]
    options = [(named(option), meaning(option)) for option in own]
    return Entry(str(command.name), title, usage, paragraphs, options, _lines(example))


def _lines(example: str) -> list[str]:
    return [line.strip() for line in example.splitlines()[1:]]


def _value(parameter: click.Parameter) -> str:
    """As click's `make_metavar`, whose arguments changed between its versions."""
    if isinstance(parameter.type, click.Choice) and parameter.metavar is None:
        return "|".join(parameter.type.choices)
    name = parameter.metavar or str(parameter.name).upper()
    return f"[{name}]..." if parameter.nargs == -1 else name


def _own(command: click.Command) -> list[click.Option]:
    """Its options without the filters that commands share; another option may have the name of one."""
    filters = {(one.name, *one.opts, one.help) for one in _filters()}
    own = [one for one in _options(command) if (one.name, *one.opts, one.help) not in filters]
    takes = any(one.name in FILTER_NAMES for one in _options(command) if one not in own)
    return own if takes else _options(command)


def _filters() -> list[click.Option]:
    names = (*FILTER_NAMES, "environment", "all_environments")
    return [option for option in _options(commands.list_) if option.name in names]


def _options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)]
