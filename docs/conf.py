"""The site of the documentation: `make docs`. The pages are plain Markdown, read as they are on a forge, too."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

import outbox

HERE = Path(__file__).parent
SOURCE = "https://github.com/flask-outbox/flask-outbox/blob/main/"

project = "Guaranteed mail for Flask"
author = "The Flask-Outbox authors"
version = release = outbox.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"  # which a forge shows for the folder; the site has it as index.html, too
exclude_patterns = ["images"]
myst_heading_anchors = 4  # the anchors that a forge makes of headings
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_inherit_docstrings = False
suppress_warnings = ["misc.highlighting_failure"]  # what a relay says, or a log line, in a block without a language

html_theme = "furo"
html_title = f"Guaranteed mail for Flask {release}"
html_copy_source = False
html_show_sphinx = False

_log = logging.getLogger(__name__)
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
_LOADED = re.compile(r"<(?:script|img|iframe|link[^>]+stylesheet)[^>]+(?:src|href)=[\"']?(?:https?:)?//[^\s>]+")


def setup(app: Sphinx) -> None:
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("build-finished", _nothing_from_elsewhere)
    app.connect("build-finished", _front_page)


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    """Links to files that are no pages lead to the repository; the links of an index are the site's navigation."""
    page = HERE / f"{name}.md"
    if not page.exists():
        return

    def elsewhere(link: re.Match[str]) -> str:
        target = (page.parent / link[1]).resolve()
        if not target.exists():
            _log.warning("%s: %s does not exist", name, link[1], location=name)
        if target.suffix in (".md", ".rst", ".webp", ".png", ".svg") and target.is_relative_to(HERE):
            return link[0]
        return f"]({SOURCE}{target.relative_to(HERE.parent)}{link[2] or ''})"

    text = source[0]
    source[0] = _LINK.sub(elsewhere, text)
    if page.name in ("README.md", "index.md"):
        source[0] += "".join(map(_navigation, re.split(r"^## ", text, flags=re.MULTILINE)[1:]))


def _navigation(section: str) -> str:
    caption, _, text = section.partition("\n")
    pages = [link[1].rpartition(".")[0] for link in _LINK.finditer(text) if link[1].endswith((".md", ".rst"))]
    entries = "\n".join(dict.fromkeys(page for page in pages if not page.startswith("..")))
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"


def _docstring(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """The package's docstrings are Markdown: `code` between single backticks, and indented blocks of Python."""
    written: list[str] = []
    within = False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not within and written and not written[-1]:
            written += [".. code-block:: python", ""]
            within = True
        within = within and (indented or not line)
        written.append(line if within else re.sub(r"(?<![`:\w])`([^`]+)`(?!`)", r"``\1``", line))
    lines[:] = written


def _nothing_from_elsewhere(app: Sphinx, error: Exception | None) -> None:
    """A page loads nothing from another host."""
    for page in Path(app.outdir).rglob("*.html"):
        for found in _LOADED.finditer(page.read_text(encoding="utf-8")):
            _log.warning("%s loads %s", page.name, found[0])


def _front_page(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.name == "html":
        shutil.copyfile(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")
