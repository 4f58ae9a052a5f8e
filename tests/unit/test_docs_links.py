"""The links of the Markdown pages lead somewhere, and the index leads to each page."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "examples" / "README.md"])


def prose(page: Path) -> str:
    """Without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Relative ones."""
    text = prose(page)
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)", text, re.MULTILINE)
    return [link for link in found if not link.startswith(("https://", "http://", "mailto:"))]


@cache
def anchors(page: Path) -> set[str]:
    """As a forge makes them of headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    """To a file that is there, and to a heading that it has."""
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("index", [DOCS / "README.md", DOCS / "decisions" / "index.md"], ids=["docs", "decisions"])
def test_the_index_is_complete(index: Path) -> None:
    """Each page beside it is linked once."""
    listed = Counter(link for link in links(index) if "/" not in link)
    beside = {path.name for pattern in ("*.md", "*.rst") for path in index.parent.glob(pattern)} - {index.name}
    assert beside == listed.keys()
    assert set(listed.values()) == {1}


def test_decisions_are_named_by_their_titles() -> None:
    """The index says what each is about in its own words."""
    index = (DOCS / "decisions" / "index.md").read_text()
    titles = {path.name: path.read_text().partition("\n")[0][2:] for path in (DOCS / "decisions").glob("0*.md")}
    assert {name: title for title, name in re.findall(r"^- \[(.*)\]\((.*)\)$", index, re.MULTILINE)} == titles
