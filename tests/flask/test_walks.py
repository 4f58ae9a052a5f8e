"""docs/architecture.md names the files through which five walks lead; each walk is taken here, and traced."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from outbox.message import values

ROOT = Path(values.__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
WALKS = {
    "A message in": "message-in",
    "A message out": "message-out",
    "Requeue": "requeue",
    "Status": "status",
    "Migration": "migration",
}
SOMETIMES = {"worker/waiters.py", "worker/together.py"}  # only where one thread is faster than another
FILE = re.compile(r"`((?:\w+/)+\w+\.py)`")


def section(title: str) -> tuple[list[str], set[str]]:
    """The files that the numbered steps of a walk name, in order; and those that it passes on its way."""
    text = re.split(rf"^## {title}$", PAGE.read_text(), flags=re.MULTILINE)[1].split("\n## ")[0]
    steps, _, rest = text.partition("\n1. ")[2].partition("\nOn the way: ")
    return list(dict.fromkeys(FILE.findall(steps))), set(FILE.findall(rest))


def test_the_page_names_no_file_that_is_gone() -> None:
    """In the tables, too."""
    named = {name for name in FILE.findall(PAGE.read_text()) if not name.startswith("tests/")}
    assert [name for name in sorted(named) if not (ROOT / "outbox" / name).exists()] == []


@pytest.mark.parametrize(("title", "walk"), list(WALKS.items()), ids=list(WALKS.values()))
def test_the_page_names_the_files_of_a_walk_in_order(tmp_path: Path, title: str, walk: str) -> None:
    """Neither a file that is not entered, nor one left out; the steps in the order in which they are entered."""
    steps, passed = section(title)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OUTBOX_", "MAIL_"))}
    command = [sys.executable, "-m", "tests.flask.walk", walk, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    entered = list(json.loads(done.stdout.splitlines()[-1]))
    assert sorted((set(steps) | passed) - SOMETIMES) == sorted(set(entered) - SOMETIMES)
    assert steps == [file for file in entered if file in steps]
