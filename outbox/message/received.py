"""What parsers give of a received message (folded lines, encoded words) → plain text, for an answer to it.

Python's compat32 policy returns fields as they were on the wire. Flask-Mail passes encoded words on, so a reader sees
the text they stand for; encoded a second time, a reader would see the encoding.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

_FOLD = re.compile(r"\r?\n(?=[ \t]+[^ \t\r\n])")
_WORD = re.compile(r"=\?([^?\s*]+)(?:\*[^?\s]*)?\?([bq])\?([^?\r\n]*)\?=", re.IGNORECASE)
_LINE_ENDS = re.compile(r"[\0\r\n]+")


def unfolded(text: str) -> str:
    """`text` without the line breaks of proper folds (RFC 5322 §2.2.3); any other line break stays."""
    return _FOLD.sub("", text) if "\n" in text else text


def decoded(text: str) -> str:
    """`text` with its encoded words (RFC 2047) decoded; one that can't be decoded stays as it is.

    A line break within an encoded word becomes a space: it can end no header here.
    """
    if "=?" not in text:
        return text
    return "".join(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    end = 0
    pending: tuple[str, bytes] | None = None  # neighbours may share a character (against RFC 2047 §5, but common)
    for found in _WORD.finditer(text):
        charset, data = found[1].lower(), _octets(found[2], found[3])
        if data is None or not _is_known(charset, data):
            continue
        between = text[end : found.start()]
        if pending is not None and not between.strip(" \t") and pending[0] == charset:
            pending = (charset, pending[1] + data)
        else:
            if pending is not None:
                yield _text(*pending)
            if pending is None or between.strip(" \t"):
                yield between
            pending = (charset, data)
        end = found.end()
    if pending is not None:
        yield _text(*pending)
    yield text[end:]


def _is_known(charset: str, data: bytes) -> bool:
    try:
        data.decode(charset, "replace")
    except (LookupError, ValueError, TypeError):  # of codecs that are not for text
        return False
    return True


def _octets(letter: str, payload: str) -> bytes | None:
    try:
        data = payload.encode("ascii")
        if letter in "bB":
            return binascii.a2b_base64(data + b"=" * (-len(data) % 4))
        return binascii.a2b_qp(data, header=True)
    except (ValueError, binascii.Error):
        return None


def _text(charset: str, data: bytes) -> str:
    return _LINE_ENDS.sub(" ", data.decode(charset, "replace"))
