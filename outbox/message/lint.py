"""What is likely wrong with a message, though it can be sent: for developers, before readers see it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses
from html import unescape
from urllib.parse import unquote, urlsplit

from outbox.message import css_support
from outbox.message.html_hidden import split
from outbox.message.html_tags import Attributes, tokens
from outbox.message.slips import empty_name, meant, placeholder

LARGEST = 102 * 1024
"""Bytes of HTML from which on Gmail shows "[Message clipped]"."""

_JINJA = re.compile(r"\{#.*?(?:#\}|\Z)|\{%.*?(?:%\}|\Z)", re.DOTALL)
_VALUE = re.compile(r"\{\{.*?(?:\}\}|\Z)", re.DOTALL)
_UNKNOWN = "\ufffc"  # stands for a value of a template
_STYLE = re.compile(r"<style\b[^>]{0,2000}>(.*?)(?:</style|\Z)", re.IGNORECASE | re.DOTALL)
_IMPORT = re.compile(r"@import\s{1,99}(?:url\()?\s{0,99}[\"']?([^\"');\s]+)", re.IGNORECASE)
_FILLER = re.compile("[\\s\u00ad\u034f\u200b-\u200f\u2060\ufeff]*")
_NEXT_DOOR = re.compile(r"(?:.*\.)?(?:localhost|test|invalid)|127\..*|\[?::1\]?|0\.0\.0\.0|.*\.local", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is likely wrong."""

    check: str  # its name, such as "no-alt"
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}"


def of_message(content: bytes, recipients: Iterable[str] = ()) -> list[Finding]:
    """What is to be said of a message in its wire form. `recipients`: of the envelope, who may be in no field."""
    mail = message_from_bytes(content, EmailMessage, policy=policy.default)
    html, text = (_part(mail, kind) for kind in ("html", "plain"))
    found = [*_names(mail, recipients)]
    for what, words in (("subject", str(mail["subject"] or "")), ("text part", text or "")):
        if (left := placeholder(words)) is not None:
            found.append(Finding("placeholder", f"the {what} has {left!r}", "Render it before it is sent."))
    if html is not None:
        parts = {str(part["Content-ID"]).strip("<> ") for part in mail.walk() if part["Content-ID"]}
        found += [*of_html(html), *_beside_text(html, text), *_without_part(html, parts)]
    return _each_once(found)


def of_template(source: str) -> list[Finding]:
    """What can be said of the source of a Jinja template of HTML, without its values."""
    html = _VALUE.sub(_UNKNOWN, _JINJA.sub("", source))
    return _each_once([*_of_tags(html), *_style_sheets(html), *_unsupported(html)])


def of_html(html: str) -> Iterator[Finding]:
    """What is to be said of HTML as it is sent."""
    yield from _of_tags(html)
    yield from _style_sheets(html)
    yield from _unsupported(html)
    size = len(html.encode(errors="replace"))
    if size > LARGEST:
        yield Finding(
            "too-large", f"the HTML has {size:,} bytes, and Gmail clips it from {LARGEST:,} on", "Shorten it, or link."
        )
    first = _first_words(html)
    if first is not None:
        yield Finding(
            "no-preheader",
            f"there is no preheader, so that lists of mail show the first words: {first!r}",
            'Begin the body with <div style="display:none">a sentence that says what it is about</div>.',
        )


def _of_tags(html: str) -> Iterator[Finding]:
    for is_hidden, (kind, tag, attributes) in split(tokens(html)):
        if kind != "start":
            continue
        if tag == "img" and "alt" not in attributes and not is_hidden:
            yield Finding(
                "no-alt",
                f"the image {_short(attributes.get('src', ''))} has no alt text, and most readers see that first",
                'Say what it shows, or alt="" where it is decoration.',
            )
        for name in ("href", "src", "background"):
            if name in attributes:
                yield from _of_url(tag, attributes[name].strip(), attributes)


def _of_url(tag: str, url: str, attributes: Attributes) -> Iterator[Finding]:
    if not url or _UNKNOWN in url or url.startswith("#"):
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        yield Finding("bad-link", f"{_short(url)} is not a URL", "Write it as https://host/path.")
        return
    if tag == "link":
        if "stylesheet" in attributes.get("rel", "").lower() and parts.scheme in ("http", "https", ""):
            yield _style_sheet(url)
    elif parts.scheme == "http" and not _NEXT_DOOR.fullmatch(host):
        yield Finding("http-link", f"{_short(url)} is not encrypted", "Use https:, which mail programs do not warn of.")
    elif not parts.scheme and tag in ("a", "area", "img"):
        yield Finding(
            "relative-link", f"{_short(url)} leads nowhere in mail", "Give the whole URL: url_for(…, _external=True)."
        )


def _style_sheets(html: str) -> Iterator[Finding]:
    for block in _STYLE.findall(html):
        for url in _IMPORT.findall(block):
            if _UNKNOWN not in url:
                yield _style_sheet(url)


def _style_sheet(url: str) -> Finding:
    return Finding(
        "style-sheet",
        f"the style sheet {_short(url)} is loaded by few mail programs",
        "Put its rules into a <style> block; the extra html writes them into the attributes.",
    )


def _unsupported(html: str) -> Iterator[Finding]:
    styles = (
        unescape(attributes["style"])
        for _, (kind, _tag, attributes) in split(tokens(html))
        if kind == "start" and "style" in attributes
    )
    for found in css_support.left_out(_STYLE.findall(html), styles):
        yield Finding(
            "unsupported-css",
            f"{css_support.WITHOUT} leave out {found}",
            "Lay out by tables and plain values; what is meant for other programs alone goes into @media.",
        )


def _beside_text(html: str, text: str | None) -> Iterator[Finding]:
    if text is None or not text.strip():
        yield Finding("no-text", "there is no text part", "Give a text, or enqueue the HTML alone: it gets one.")
        return
    words = re.sub(r"\s+", "", text)
    for is_hidden, (kind, tag, attributes) in split(tokens(html)):
        url = attributes.get("href", "").strip()
        if kind != "start" or tag not in ("a", "area") or is_hidden or not url:
            continue
        if url.lower().startswith(("#", "javascript:", "data:", "cid:")):
            continue
        place = url.removeprefix("mailto:").removeprefix("tel:")
        if re.sub(r"\s+", "", place.rstrip("/")) not in words:
            yield Finding(
                "link-not-in-text",
                f"the link {_short(url)} is in the HTML, and not in the text part",
                "Add it to the text, or leave the text out: it is made of the HTML then.",
            )


def _without_part(html: str, parts: set[str]) -> Iterator[Finding]:
    for _, (kind, _tag, attributes) in split(tokens(html)):
        src = attributes.get("src", "").strip()
        if kind == "start" and src.lower().startswith("cid:") and not {src[4:], unquote(src[4:])} & parts:
            yield Finding(
                "no-part", f"the image {_short(src)} is not in the message", "Attach it with that Content-ID."
            )


def _first_words(html: str) -> str | None:
    """What a list of mail shows; None where that is hidden text, as a preheader is, or nothing."""
    head = 0
    for is_hidden, (kind, value, _) in split(tokens(html)):
        if value in ("head", "title", "template") and kind != "text":
            head = max(0, head + (1 if kind == "start" else -1))
        elif value == "body" and kind == "start":
            head = 0
        elif kind == "text" and not head and not _FILLER.fullmatch(unescape(value)):
            return None if is_hidden else _short(" ".join(unescape(value).split()))
    return None


def _names(mail: EmailMessage, recipients: Iterable[str]) -> Iterator[Finding]:
    fields = ("From", "To", "Cc", "Reply-To")
    people = getaddresses([str(value) for name in fields for value in mail.get_all(name, [])])
    for name, address in [*people, *(("", one) for one in recipients)]:
        domain = address.rpartition("@")[2]
        if (other := meant(domain)) is not None:
            yield Finding("address", f"{address} looks like a slip of {other}", "Check it with its owner.")
        if empty_name(name) or placeholder(name) is not None:
            yield Finding("name", f"{address} has the name {name!r}", "Leave the name out where there is none.")


def _part(mail: EmailMessage, kind: str) -> str | None:
    try:
        part = mail.get_body((kind,))
        return None if part is None else str(part.get_content())
    except (LookupError, ValueError, TypeError, AttributeError):  # a charset, or a structure, that is unknown here
        return None


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def _each_once(found: Iterable[Finding]) -> list[Finding]:
    return list(dict.fromkeys(found))
