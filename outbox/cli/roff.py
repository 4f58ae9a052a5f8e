"""The manual page in the language of `man`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from outbox.core.version import VERSION

if TYPE_CHECKING:
    from outbox.cli.entries import Entry

Options = Sequence[tuple[str, str]]

DESCRIPTION = (
    """\
The commands of the outbox are on `flask` of every application that has the package installed (`flask --app shop
outbox-status`), and on `python manage.py` of the reference application. They use the application's own configuration.
What is counted, listed and changed are deliveries: one message to one recipient.""",
    """\
Results go to standard output, remarks and questions to standard error. With --json standard output holds exactly one
JSON value, also where the command fails.""",
)
FILTERS = "Where a synopsis says FILTERS. All must hold. TIME is a number and a unit: 30s, 15m, 2h, 7d, 1h30m."
STATUS = (
    ("0", "Done; healthy."),
    ("1", "Done, and the answer is no: degraded, a check failed, a message was not sent or not changed."),
    ("2", "Not done: wrong use, not configured, the database is down or not migrated, or nobody could be asked."),
)
ENVIRONMENT = (
    ("NO_COLOR", "If set, no colours on a terminal. A pipe gets none in any case."),
    ("COLUMNS, LINES", "The size of the terminal, instead of its own."),
)
SEE_ALSO = "The project's documentation: commands.md has more on each command, configuration.md has the settings."


def page(entries: Sequence[Entry], filters: Options) -> str:
    """All of it."""
    lines = [
        '.\\" Written by `make manual` from the commands themselves.',
        f'.TH OUTBOX 1 "" "flask\\-outbox {_text(VERSION)}" "User Commands"',
        ".nh",
        ".ad l",
        ".SH NAME",
        "outbox \\- send, watch and repair the mail of a Flask application",
        ".SH SYNOPSIS",
        *(line for entry in entries for line in _synopsis(entry)),
        ".SH DESCRIPTION",
        *_paragraphs(DESCRIPTION),
        ".SH COMMANDS",
        *(line for entry in entries for line in _command(entry)),
        ".SH FILTERS",
        *_paragraphs([FILTERS]),
        *_options(filters),
        ".SH EXIT STATUS",
        *_options(STATUS),
        ".SH ENVIRONMENT",
        *_options(ENVIRONMENT),
        ".SH SEE ALSO",
        _text(SEE_ALSO),
    ]
    return "\n".join(lines) + "\n"


def _synopsis(entry: Entry) -> Iterator[str]:
    yield ".HP"
    yield " ".join([f"\\fB{_text(entry.name)}\\fR", *(_text(word).replace(" ", "\\ ") for word in entry.usage)])


def _command(entry: Entry) -> Iterator[str]:
    yield f".SS {_text(entry.name)}"
    yield from _paragraphs([entry.title, *entry.paragraphs])
    yield from _options(entry.options)
    yield from (".PP", "For example:", ".PP", ".RS 4", ".nf")
    yield from (_text(line) for line in entry.examples)
    yield from (".fi", ".RE")


def _paragraphs(paragraphs: Sequence[str]) -> Iterator[str]:
    for number, words in enumerate(paragraphs):
        if number:
            yield ".PP"
        yield _text(" ".join(words.split()))


def _options(options: Options) -> Iterator[str]:
    for name, words in options:
        yield ".TP"
        option, _, value = name.partition(" ")
        yield f"\\fB{_text(option)}\\fR" + (f" \\fI{_text(value)}\\fR" if value else "")
        yield _text(words)


def _text(words: str) -> str:
    """As it is read: no request, no escape, a hyphen that can be copied into a shell."""
    plain = words.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    plain = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", plain)
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
