"""The media type of an image, by its first bytes; by its name where they say nothing."""

from __future__ import annotations

import mimetypes
import re

_SIGNS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)
_SVG = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype[^>]*>\s*)?<svg[\s>]", re.DOTALL | re.IGNORECASE
)


def image_type(data: bytes, name: str) -> str | None:
    """Such as image/png; None for what is not an image."""
    for sign, media in _SIGNS:
        if data.startswith(sign):
            return media
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    if _SVG.match(data[:4096]):
        return "image/svg+xml"
    guessed, _ = mimetypes.guess_type(name)
    is_text = guessed == "image/svg+xml" or not data
    return guessed if guessed is not None and guessed.startswith("image/") and not is_text else None
