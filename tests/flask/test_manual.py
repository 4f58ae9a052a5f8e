"""The manual page, and the shell's completion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outbox.cli.manual import manual
from tests.flask.terminal import ROOT


def test_the_manual_page_is_that_of_the_commands() -> None:
    """Made anew after each change: `python -m outbox.cli.manual > docs/outbox.1.md`."""
    assert (ROOT / "docs" / "outbox.1.md").read_text() == manual()


def test_only_the_filters_are_left_to_their_own_part() -> None:
    """`outbox-check --to` is no filter, though its variable has the name of one."""
    page = manual()
    assert "**outbox-check** [*OPTIONS*]\n" in page
    assert "**--to** *ADDRESS*" in page.partition("### outbox-check\n")[2].partition("\n### ")[0]
    assert "**outbox-list** [*FILTERS*] [*OPTIONS*]\n" in page


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("flask outbox-re", ["outbox-requeue", "outbox-resume"]),
        ("flask outbox-list --stat", ["--state"]),
        ("flask outbox-list --state fa", ["failed"]),
        ("./manage.py outbox-pa", ["outbox-pause"]),
    ],
)
def test_bash_completes_commands_options_and_values(line: str, found: list[str]) -> None:
    """By the lines in docs/commands.md, as bash itself calls them."""
    manual_ = (ROOT / "docs" / "commands.md").read_text()
    program, *words = line.split()
    (source,) = (
        one.strip().partition("#")[0].strip() for one in manual_.splitlines() if f"=bash_source {program})" in one
    )
    function = "_managepy_completion" if program == "./manage.py" else "_flask_completion"
    script = f"{source}\nCOMP_WORDS=({line})\nCOMP_CWORD={len(words)}\n{function} {program}\n"
    done = subprocess.run(
        ["bash", "-c", script + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == found, done.stderr
