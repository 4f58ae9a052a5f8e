"""docs/replies.md: each reply that it names as an example is taken for what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from outbox.delivery.reply import About, Phase, parse_reply
from outbox.delivery.verdicts import judge_reply

PAGE = Path(__file__).resolve().parents[3] / "docs" / "replies.md"
ROWS = {
    "the recipient": About.RECIPIENT,
    "the message": About.MESSAGE,
    "the sender": About.SENDER,
    "the recipient's domain": About.DOMAIN,
    "the connection": About.SESSION,
    "connections at once": About.CONNECTIONS,
    "the account": About.ACCOUNT,
    "the relay": About.RELAY,
}


def examples() -> list[tuple[About, str]]:
    """What the page's first table names, by the row."""
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[1] in ROWS:
            found += [(ROWS[cells[1]], words) for words in re.findall(r"`([^`]+)`", cells[2])]
    return found


def test_every_subject_has_its_row() -> None:
    """The page names all that a reply can be about, and nothing else."""
    assert {about for about, _ in examples()} == set(About)


@pytest.mark.parametrize(("about", "words"), examples())
def test_an_example_is_what_the_page_says(about: About, words: str) -> None:
    """At one of the steps at which it may come, by its words or its code."""
    code, text = (int(words[:3]), words[3:].strip()) if words[:3].isdecimal() else (450, words)
    phases = (Phase.AUTH,) if text == "" else (Phase.MAIL, Phase.RCPT, Phase.DOT)
    assert about in {judge_reply(phase, parse_reply(code, text.encode())).about for phase in phases}
