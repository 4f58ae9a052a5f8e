"""Wire bytes → what an admin looks at: headers, text, HTML, the list of attachments. Bytes may be damaged.

Everything here is content of a mail and so hostile: who shows it escapes the headers and puts the HTML into a sandboxed
frame without remote content.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.policy import default as policy
from urllib.parse import unquote

_BODIES = ("text/plain", "text/html")
_CID = re.compile(r"""\bcid:([^"'\s<>)]+)""", re.IGNORECASE)
_LINE_ENDS = re.compile(r"\r\n|\r")
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_DEPTH = 20  # of parts within parts


@dataclass(frozen=True, slots=True)
class Preview:
    """A message taken apart. `text` and `html` have LF as line end; sizes are bytes, decoded."""

    headers: list[tuple[str, str]]  # decoded and unfolded, in order
    text: str | None
    html: str | None
    attachments: list[tuple[str | None, str, int]]  # (file name, content type, size), inline images among them


def preview(wire: bytes, *, inline_images: bool = False) -> Preview:
    """Take `wire` apart as a reader's program does. With `inline_images` cid: URLs become data: URLs.

    Never raises: of damaged bytes it shows what can be shown.
    """
    message = message_from_bytes(wire)  # compat32: the newer policies parse headers, and so fail, at every look
    bodies, others = _sorted(message)
    text, html = (_text(bodies[kind]) if kind in bodies else None for kind in _BODIES)
    attachments: list[tuple[str | None, str, int]] = []
    images: dict[str, str] = {}
    for part in others:
        kind, data = part.get_content_type(), _data(part)
        attachments.append((_filename(part), kind, len(data)))
        if inline_images and kind.startswith("image/"):
            images[_header(part, "Content-ID").strip(" <>")] = f"data:{kind};base64,{b64encode(data).decode()}"
    if html is not None and images:
        html = _CID.sub(lambda found: images.get(found[1]) or images.get(unquote(found[1]), found[0]), html)
    return Preview(list(_headers(message)), text, html, attachments)


def attachment(wire: bytes, number: int) -> tuple[str | None, str, bytes] | None:
    """The attachment at this place of `Preview.attachments`, from 0: file name, content type, content. None: no such.

    Never raises, as `preview`.
    """
    _, others = _sorted(message_from_bytes(wire))
    if not 0 <= number < len(others):
        return None
    part = others[number]
    return _filename(part), part.get_content_type(), _data(part)


def _sorted(message: Message) -> tuple[dict[str, Message], list[Message]]:
    """The parts that a reader's program shows as the body, by their type, and all others."""
    bodies: dict[str, Message] = {}
    others: list[Message] = []
    for part in _leaves(message):
        kind = part.get_content_type()
        if kind in _BODIES and kind not in bodies and not _is_attached(part):
            bodies[kind] = part
        else:
            others.append(part)
    return bodies, others


def _leaves(part: Message, depth: int = 0) -> Iterator[Message]:
    """Parts without parts, and forwarded messages as one part each."""
    if part.get_content_maintype() == "multipart" and depth < _DEPTH and part.is_multipart():
        for child in _children(part):
            yield from _leaves(child, depth + 1)
    else:
        yield part


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _headers(message: Message) -> Iterator[tuple[str, str]]:
    for name, raw in message.raw_items():
        yield name, _decoded(name, raw)


def _decoded(name: str, raw: object) -> str:
    source = str(raw)
    try:
        value = str(policy.header_fetch_parse(name, source))
    except Exception:  # noqa: BLE001 - the parser of the standard library raises several types on damaged fields
        value = _FOLD.sub("", source)
    return _sound(value)


def _sound(text: str) -> str:
    """`text` with undecodable octets shown as U+FFFD, so that it can be encoded again."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _header(part: Message, name: str) -> str:
    return next((value for found, value in _headers(part) if found.lower() == name.lower()), "")


def _is_attached(part: Message) -> bool:
    return _header(part, "Content-Disposition").strip().lower().startswith("attachment")


def _filename(part: Message) -> str | None:
    try:
        return _sound(part.get_filename() or "") or None
    except Exception:  # noqa: BLE001 - RFC 2231 decoding of damaged parameters
        return None


def _data(part: Message) -> bytes:
    try:
        if part.is_multipart():  # a forwarded message
            return b"".join(child.as_bytes() for child in _children(part))
        data = part.get_payload(decode=True)
    except Exception:  # noqa: BLE001 - what cannot be decoded has no content to show
        return b""
    return data if isinstance(data, bytes) else b""


def _text(part: Message) -> str:
    charset = str(part.get_param("charset", "utf-8"))
    try:
        text = _data(part).decode(charset, "replace")
    except (LookupError, ValueError):
        text = _data(part).decode("utf-8", "replace")
    return _LINE_ENDS.sub("\n", text)
