"""Suppressions as a CSV file: written, and read with every fault named before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TextIO

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.common import ask, database, remark, replica, say, settings, who
from outbox.cli.options import number
from outbox.cli.output import print_json, print_whole
from outbox.operations import suppression_csv, suppressions
from outbox.operations.csv_rows import csv_line
from outbox.operations.suppression_csv import Fault, Line

FAULTS_SHOWN = 20


def export(path: str, wanted: suppressions.Wanted, *, as_json: bool) -> None:
    """Write those that are `wanted` to `path`, for the reader's eyes only; "-": stdout."""
    if path == "-" and as_json:
        raise click.UsageError("--export - and --json both write to stdout.")
    count = 0
    with _written(path) as write, operations.connected(replica()) as connection:
        write(csv_line(suppression_csv.COLUMNS))
        for entry in suppressions.every(connection, wanted, address_key=settings().address_digest_key):
            write(csv_line(suppression_csv.cells(entry)))
            count += 1
    if as_json:
        print_json({"action": "export", "file": path, "exported": count})
    else:
        words = f"{number(count)} suppression{'' if count == 1 else 's'}"
        if path == "-":
            remark(f"{words}.")
        else:
            say(f"{words} in {path}.")


@contextmanager
def _written(path: str) -> Iterator[Callable[[str], object]]:
    if path == "-":
        yield lambda line: print_whole(line.rstrip("\r\n"))
        return
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline="") as file:
        yield file.write


def import_(path: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Put the addresses of a file on the list, unless a line of it is at fault."""
    engine, key = database(), settings().address_digest_key
    with operations.connected(engine) as connection:
        now = operations.now(connection)
    with waiting("checking"), _opened(path) as file:
        faults, lines, first = _checked(file, now)
    done = [0, 0, 0]
    if not faults and lines:
        if not dry_run:
            ask(f"Suppress {number(lines)} address{'' if lines == 1 else 'es'}?", yes=yes)
        name = f"import {os.path.basename(path)}"
        with operations.guarded(engine), waiting("importing", lines) as told, _opened(path) as file:
            good = (one for one in suppression_csv.read(file, now) if isinstance(one, Line))
            for some in suppression_csv.import_(engine, good, by=who(), address_key=key, words=name, dry_run=dry_run):
                done = [sum(pair) for pair in zip(done, (some.new, some.changed, some.there), strict=True)]
                told(some.new + some.changed + some.there)
    new, changed, there = done
    if as_json:
        counts = {"lines": lines, "new": new, "changed": changed, "unchanged": there}
        said = {"action": "import", "dry_run": dry_run, **counts}
        print_json(said | {"faults": [{"line": one.number, "fault": one.words} for one in first], "faulty": faults})
    elif faults:
        for one in first:
            say(f"{path}, {one}.")
        more = f", {number(faults - len(first))} more than those above" if faults > len(first) else ""
        say(f"Nothing was imported: {number(faults)} line{' is' if faults == 1 else 's are'} at fault{more}.")
    else:
        would = "Would import" if dry_run else "Imported"
        say(f"{would} {number(new)} new and {number(changed)} changed; {number(there)} were there already.")
    if faults:
        raise click.exceptions.Exit(1)


def _checked(file: TextIO, now: datetime) -> tuple[int, int, list[Fault]]:
    """How many lines are at fault, how many are not, and the first of those that are."""
    faults, lines = 0, 0
    first: list[Fault] = []
    for one in suppression_csv.read(file, now):
        if isinstance(one, Line):
            lines += 1
        else:
            faults += 1
            first += [one] if len(first) < FAULTS_SHOWN else []
    return faults, lines, first


@contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        yield file
