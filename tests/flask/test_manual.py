"""The manual page, and the shell's completion."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from outbox.cli import commands, manual, roff
from outbox.cli.entries import Entry, entries
from tests.flask.terminal import ROOT

DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", ["commands.md", "outbox.1"])
def test_the_committed_files_are_those_of_the_commands(name: str, tmp_path: Path) -> None:
    """Write them anew after each change of a command: `make manual`."""
    shutil.copy(DOCS / "commands.md", tmp_path)
    manual.write(tmp_path)
    assert (tmp_path / name).read_text() == (DOCS / name).read_text()


def test_all_three_say_the_same() -> None:
    """Each sentence of a command's help, and each option with its help, is in both files."""
    page, roff_ = (DOCS / "commands.md").read_text(), (DOCS / "outbox.1").read_text().replace("\\", "")
    for command in commands.ALL.values():
        said = inspect.cleandoc(command.help).partition("\n\b\n")[0].split("\n\n")
        said += [option.help for option in command.params if isinstance(option, click.Option)]
        for words in (" ".join(one.split()) for one in said):
            assert words in page
            assert words.replace("`", "").encode("ascii", "ignore").decode() in re.sub(r"\[u[0-9A-F]{4}\]", "", roff_)


def test_only_the_filters_are_left_to_their_own_part() -> None:
    """`outbox-check --to` and `outbox-audit --since` are not filters, though filters have such names."""
    found = {entry.name: entry for entry in entries()}
    assert found["outbox-list"].usage[0] == "[FILTERS]"
    for name, option in (("check", "--to ADDRESS"), ("audit", "--since TIME"), ("pause", "--environment NAME")):
        entry = found[f"outbox-{name}"]
        assert "[FILTERS]" not in entry.usage
        assert option in dict(entry.options)


def test_a_command_without_a_part_in_the_page_is_told() -> None:
    """A new command can't be forgotten."""
    page = (DOCS / "commands.md").read_text().replace("<!-- outbox-audit: ", "<!-- elsewhere: ")
    with pytest.raises(ValueError, match="no part for outbox-audit"):
        manual.markdown(page)


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man")
def test_man_can_read_it() -> None:
    """Without a warning, within 80 columns; options are whole, so that they can be copied."""
    env = os.environ | {"MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""}
    words = ["man", "--warnings=w", "--local-file", str(DOCS / "outbox.1")]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    shown = re.sub(".\b", "", done.stdout)
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "outbox - send, watch and repair the mail" in shown
    for command in commands.ALL.values():
        assert f"\n   {command.name}\n" in shown
        assert all(option in shown for one in command.params for option in one.opts if option.startswith("--"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (".so /etc/passwd", "\\&.so"),
        ("'a", "\\&'a"),
        ("--yes", "\\-\\-yes"),
        ("a\\b", "a\\eb"),
        ("é…", "\\[u00E9]\\[u2026]"),
    ],
)
def test_words_stay_words(words: str, said: str) -> None:
    """No request and no escape of roff comes from a help text."""
    entry = Entry("x", words, [], [], [], [])
    assert f"\n{said}" in roff.page([entry], [])


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "found"),
    [
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
