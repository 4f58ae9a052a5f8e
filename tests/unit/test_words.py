"""Words that no reader should have to look up, and phrases that are not English, stay out of code and pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ = [
    *(
        path
        for folder in ("outbox", "app", "devserver", "docs", "examples", "templates")
        for path in (ROOT / folder).rglob("*")
    ),
    *ROOT.glob("*.md"),
]
FILES = [
    path
    for path in READ
    if path.suffix in {".py", ".md", ".rst", ".html", ".txt", ".js"}
    and "decisions" not in path.parts
    and path.name != "CHANGELOG.md"
]

METAPHORS = re.compile(
    r"(?<![a-z])(crews?|shel(f|ves)|bells?|ledgers?|mend(s|ed)?|heed(s|ed)?|mourn\w*|bur(y|ies|ied))(?![a-z])", re.I
)
"""The field says pool, cache, event count, outcome store, repair, follow, reap: docs/glossary.md."""

IS_NO = re.compile(r"(?<!there )\b(is|are) no (?!longer\b|more\b|such\b)(?=[a-z])|\bthat is none\b", re.IGNORECASE)
"""'x' is not a duration, rather than 'x' is no duration. There is no harm in "there is no"."""

STILTED = re.compile(
    r"\b(at the most|in good order|for ever|whosever|dearer|nobody's|of late|fares|belongs? into|is to be had|as ever"
    r"|that is none|for who|by who|anew|a try|each try|tries(?= that| of| counted)|stands in(?! for)|lies in"
    r"|daemon(?! *=|,))\b",
    re.IGNORECASE,
)
"""At most, cleanly, forever, of any, slower, lately, an invalid one, again, an attempt, is in, worker."""


def test_no_private_metaphors() -> None:
    """In identifiers, too: their parts are words."""

    def words(text: str) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).replace("_", " ")

    assert found_in_files(METAPHORS, words) == {}


def test_no_stilted_phrases() -> None:
    """In docs, messages, docstrings and comments: the words of the glossary, and common ones."""

    def words(text: str) -> str:
        return re.sub(r"\s+", " ", " ".join(re.sub(r"^\s*#", "", line) for line in text.splitlines()))

    assert found_in_files(STILTED, words) == {}


def found_in_files(unwanted: re.Pattern[str], words: Callable[[str], str]) -> dict[str, list[str]]:
    """By file."""
    texts = {str(path.relative_to(ROOT)): words(path.read_text(encoding="utf-8")) for path in FILES}
    found = {name: [match[0] for match in unwanted.finditer(text)] for name, text in texts.items()}
    return {name: matches for name, matches in found.items() if matches}


def test_messages_are_plain_english() -> None:
    """What people read on a terminal, a page or in an error."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in (ROOT / "outbox").rglob("*.py")
        for line, text in strings(path)
        if IS_NO.search(text)
    ]
    assert found == []


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value
