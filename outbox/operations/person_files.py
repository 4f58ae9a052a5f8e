"""The files of an export: private to their owner, each table as CSV and as JSON."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TextIO

from outbox.core import clock
from outbox.operations.csv_rows import csv_line

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
PRIVATE, PRIVATE_FOLDER = 0o600, 0o700


def opened(path: Path) -> IO[bytes]:
    """A new file that nobody else can read, whatever the umask. Raises FileExistsError."""
    return open(os.open(path, _NEW, PRIVATE), "wb")


def folder(path: Path) -> Path:
    """A new folder that nobody else can look into. Raises FileExistsError."""
    path.mkdir(PRIVATE_FOLDER)
    return path


def zipped(source: Path, path: Path) -> None:
    """All files below `source` in a new private file. Raises FileExistsError."""
    with opened(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for one in sorted(source.rglob("*")):
            if one.is_file():
                made.write(one, one.relative_to(source))


class Tables:
    """Writes rows to NAME.csv and NAME.json as they come."""

    def __init__(self, where: Path, columns: Mapping[str, Sequence[str]], stack: ExitStack) -> None:
        self.counts = dict.fromkeys(columns, 0)
        self._columns = columns
        self._files: dict[str, tuple[TextIO, TextIO]] = {}
        for name, names in columns.items():
            csv, rows = (stack.enter_context(_text(where / f"{name}.{ending}")) for ending in ("csv", "json"))
            csv.write("\ufeff" + csv_line(names))  # the mark by which spreadsheets tell UTF-8
            rows.write("[")
            stack.callback(rows.write, "\n]\n")
            self._files[name] = csv, rows

    def add(self, name: str, values: Sequence[object]) -> None:
        """One row of the table `name`, in the order of its columns."""
        csv, rows = self._files[name]
        plain = [_plain(one) for one in values]
        csv.write(csv_line("" if one is None else _cell(one) for one in plain))
        said = json.dumps(dict(zip(self._columns[name], plain, strict=True)), ensure_ascii=False)
        rows.write(f"{',' if self.counts[name] else ''}\n  {said}")
        self.counts[name] += 1


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with open(os.open(path, _NEW, PRIVATE), "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield file


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return None if value == clock.UNREADABLE else f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return value


def _cell(value: Any) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
