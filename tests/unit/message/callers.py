"""Callers' types: proxies, lazy strings, subclasses, paths, headers of received messages, lists in place of pairs."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes, policy
from email.header import Header
from email.headerregistry import Address
from pathlib import PurePosixPath
from typing import Any

from markupsafe import Markup
from werkzeug.local import LocalProxy

from tests.flask.comparison.lazy import BabelString, SpeakString


class _Text(str):
    """A `str` with ideas of its own, as enum members and ORM types are."""

    def __str__(self) -> str:
        return "something else"

    def strip(self, *_: Any) -> str:  # type: ignore[override]
        raise AssertionError("code of the caller's runs here")


class Several(str):
    """Two addresses in one string."""


def _several(text: str) -> str:
    text = text.replace('"', "")
    return Several(f"{text} <ann@example.org>, {text} <bob@example.org>")


def _group(text: str) -> str:
    text = text.replace('"', "")
    return Several(f"{text}: ann@example.org, bob@example.org;")


def _unbound() -> Any:
    raise RuntimeError("Working outside of request context.")


def _received(value: str) -> Any:
    """What the standard library's newer parser gives for a header of a received message."""
    octets = b"Subject: " + value.encode("utf-8", "replace").translate(None, b"\r\n\0") + b"\r\n\r\n"
    return message_from_bytes(octets, policy=policy.default)["Subject"]


def _older(value: str) -> Any:
    """The same of the older parser, folds and encoded words included."""
    octets = b"Subject: a\r\n " + value.encode("utf-8", "replace").translate(None, b"\r\n\0") + b"\r\n\r\n"
    return message_from_bytes(octets)["Subject"]


TEXTS: tuple[Callable[[str], Any], ...] = (
    lambda text: LocalProxy(lambda: text),
    lambda text: BabelString(lambda: text),
    lambda text: SpeakString(lambda: text),
    _Text,
    lambda text: str.encode(text, "utf-8", "surrogatepass"),
)
"""Ways in which callers hand in a text, each to be taken for it."""

ODD: tuple[Callable[[str], Any], ...] = (
    *TEXTS,
    Markup,
    PurePosixPath,
    _received,
    _older,
    lambda text: Header(text.encode("utf-8", "replace").decode(), "utf-8"),
    lambda text: Address(display_name=text.translate({13: None, 10: None}), username="ann", domain="example.org"),
    lambda text: LocalProxy(lambda: (text, "ann@example.org")),
    lambda text: LocalProxy(lambda: [text]),
    lambda text: LocalProxy(lambda: None),
    lambda _: LocalProxy(_unbound),
    lambda _: BabelString(_unbound),
    lambda _: SpeakString(_unbound),
    lambda text: bytearray(text.encode("utf-8", "replace")),
    lambda text: [text, "ann@example.org"],
    lambda text: [None, text],
    lambda text: (None, text),
    _several,
    _group,
    lambda text: {text: text},
    lambda text: iter([text]),
)
"""What else callers hand in, to be taken or refused."""
