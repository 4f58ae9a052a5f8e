"""Header fields on the wire: refuse what none may hold, encode (RFC 2047, RFC 2231), fold (RFC 5322 §2.2.3).

Structured fields are folded at white space and else left as they are: an encoded word in them would be read literally
(Gmail's unsubscribe button disappears). What a reader gets after unfolding and decoding is what was asked for, to the
character.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator

from outbox.core.errors import BadHeaderError, MessageError

LINE = 998  # octets, without CRLF (RFC 5322 §2.1.1)
_WIDTH = 78
_ENCODED_WIDTH = 76  # of a line that holds an encoded word (RFC 2047 §2)
_WORD = 75  # one encoded word
_FRAME = len("=?utf-8?q??=")

_FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CLEANED = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")
_SEPARATORS = frozenset("\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029")  # where `str.splitlines` sees a line's end
_REFUSED = re.compile("[\0\r\n\ud800-\udfff]")
_NAME = re.compile(r"[!-9;-~]{1,76}")
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_CHUNK = re.compile(r"[ \t]*[^ \t]+")
_ENCODED_START = re.compile(r"=\?[^?]*\?[bq]\?", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9!#$&^_.+-]+")
_QUOTABLE = re.compile(r"[ !#-\[\]-~]*")

_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = tuple("_" if byte == 0x20 else chr(byte) if byte in _Q_SAFE else f"={byte:02X}" for byte in range(256))
_ATTRIBUTE_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")
_PERCENT = tuple(chr(byte) if byte in _ATTRIBUTE_SAFE else f"%{byte:02X}" for byte in range(256))


def check_text(value: str, field: str, *, tab: bool = True) -> str:
    """`value` as it is. Raises BadHeaderError if it holds a line break, a control character or half a surrogate pair.

    A tab is white space in a header field (RFC 5322 §2.2.2); `tab=False` refuses it too, for names.
    """
    found = _FORBIDDEN.search(value)
    if found is not None:
        raise _bad(found.group(), field)
    if not tab and "\t" in value:
        raise _bad("\t", field)
    return value


def clean_text(value: str, field: str, *, tab: bool = True) -> str:
    """`value` as text for people: names, subjects, file names, with what real pages contain.

    What ends a line for some programs (U+2028, NEL, a vertical tab) becomes a space, and with `tab=False` a tab too;
    other control characters of ASCII are left out; those beyond it stay, and are encoded. Raises BadHeaderError if it
    holds CR, LF, NUL or half a surrogate pair.
    """
    found = _REFUSED.search(value)
    if found is not None:
        raise _bad(found.group(), field)
    if not tab:
        value = value.replace("\t", " ")
    return value if value.isprintable() else _CLEANED.sub(_cleaned, value)


def _cleaned(found: re.Match[str]) -> str:
    return " " if found[0] in _SEPARATORS else ""


def _bad(character: str, field: str) -> BadHeaderError:
    return BadHeaderError(
        field,
        f"holds {_described(character)}, which would let its writer add headers of their own or cannot be sent",
        "Remove it; text that users typed should be cleaned before it goes into a header.",
    )


def check_name(name: str, field: str) -> str:
    """`name` as it is. Raises BadHeaderError if it is no header field name (RFC 5322 §2.2), or a very long one."""
    if _NAME.fullmatch(name) is None:
        raise BadHeaderError(
            field,
            f"{name[:80]!r} is not a header name",
            "Use up to 76 printable ASCII characters without space and colon, such as X-Campaign.",
        )
    return name


def split_fields(head: bytes) -> list[bytes]:
    """The fields of a header section, each with its folds, without the CRLF at its end."""
    return _FIELD_END.split(head)


def looks_encoded(value: str) -> bool:
    """Whether a reader would take a part of `value` for an encoded word."""
    start = _ENCODED_START.search(value)
    return start is not None and value.find("?=", start.end()) >= 0


def unstructured(name: str, value: str) -> str:
    """`value` as unstructured text for the field `name`: as it is where that is exact, else in encoded words."""
    plain = (
        value.isascii()
        and not looks_encoded(value)
        and value == value.strip(" \t")
        and (len(value) < 900 or max(map(len, value.split())) < LINE - len(name) - 2)
    )
    return value if plain else encoded_words(value, room=_ENCODED_WIDTH - len(name) - 2)


def encoded_words(text: str, room: int = _WORD) -> str:
    """`text` in encoded words (RFC 2047), UTF-8, separated by a space; the first has `room` characters if it can."""
    data = text.encode()
    quoted = "".join(map(_Q.__getitem__, data))
    letter = "q" if len(quoted) <= (len(data) + 2) // 3 * 4 else "b"
    encode = _q if letter == "q" else _b
    return " ".join(f"=?utf-8?{letter}?{encode(piece)}?=" for piece in _pieces(text, letter, min(room, _WORD) - _FRAME))


def fold(name: str, value: str, label: str | None = None) -> bytes:
    """The field on the wire, CRLF at its end, folded at white space only. `value` is already encoded.

    `label`: what the caller calls it, for errors. Raises MessageError where a line cannot be kept within 998 octets.
    """
    line = f"{name}: {value}" if value else f"{name}:"
    width = _ENCODED_WIDTH if "=?" in value else _WIDTH
    if len(line) > width:
        line = "\r\n".join(_folded(name, value, width))
    encoded = line.encode()
    if len(encoded) > LINE and max(map(len, encoded.split(b"\r\n"))) > LINE:
        raise MessageError(
            label or name,
            f"has a piece without white space that makes a line of more than {LINE} octets (RFC 5322 §2.1.1)",
            "Shorten it: a header line cannot be folded inside a word or a URL.",
        )
    return encoded + b"\r\n"


def fold_parameters(name: str, value: str, parameters: Iterable[tuple[str, str]]) -> bytes:
    """A MIME field with parameters (RFC 2045 §5.1), on the wire; what is not ASCII or long by RFC 2231."""
    lines, line = [], f"{name}: {value}"
    for piece in (piece for key, text in parameters for piece in _parameter(key, text)):
        if len(line) + len(piece) + 3 > _WIDTH:
            lines.append(line)
            line = f" {piece}"
        else:
            line = f"{line}; {piece}"
    lines.append(line)
    return (";\r\n".join(lines) + "\r\n").encode("ascii")


def _described(character: str) -> str:
    names = {"\r": "a line break", "\n": "a line break", "\t": "a tab", "\0": "a NUL"}
    if "\ud800" <= character <= "\udfff":
        return f"half a surrogate pair (U+{ord(character):04X})"
    return names.get(character, f"the control character U+{ord(character):04X}")


def _q(text: str) -> str:
    return "".join(map(_Q.__getitem__, text.encode()))


def _b(text: str) -> str:
    return binascii.b2a_base64(text.encode(), newline=False).decode("ascii")


def _pieces(text: str, letter: str, room: int) -> Iterator[str]:
    """`text` cut between characters so that each piece encodes to at most `room` characters, the later ones to 63."""
    piece: list[str] = []
    used = 0
    for character in text:
        data = character.encode()
        size = sum(len(_Q[byte]) for byte in data) if letter == "q" else len(data)
        limit = room if letter == "q" else room // 4 * 3
        if piece and used + size > limit:
            yield "".join(piece)
            piece, used, room = [], 0, _WORD - _FRAME
        piece.append(character)
        used += size
    yield "".join(piece)


def _folded(name: str, value: str, width: int) -> Iterator[str]:
    line = f"{name}:"
    room_for_more = True  # the name never stands alone on its line: older readers would keep the white space
    for chunk in _CHUNK.findall(f" {value}"):
        if not room_for_more and len(line) + len(chunk) > width:
            yield line
            line = chunk
        else:
            line += chunk
        room_for_more = False
    yield line


def _parameter(key: str, text: str) -> Iterator[str]:
    if _TOKEN.fullmatch(text) and len(key) + len(text) < _WIDTH - 4:
        yield f"{key}={text}"
    elif _QUOTABLE.fullmatch(text) and _quotes_well(text) and len(key) + len(text) < _WIDTH - 6:
        yield f'{key}="{text}"'
    else:
        yield from _extended(key, text)


def _quotes_well(text: str) -> bool:
    """Whether readers leave the quoted text alone: some strip it, decode encoded words or take off angle brackets."""
    return text == text.strip() and "=?" not in text and not text.startswith("<")


def _extended(key: str, text: str) -> Iterator[str]:
    """RFC 2231: percent-encoded UTF-8, in continuations where it is long, each cut between characters."""
    encoded = ["".join(map(_PERCENT.__getitem__, character.encode())) for character in text]
    whole = f"{key}*=utf-8''" + "".join(encoded)
    if len(whole) < _WIDTH - 2:
        yield whole
        return
    number, piece = 0, f"{key}*0*=utf-8''"
    for character in encoded:
        if len(piece) + len(character) > _WIDTH - 2:
            yield piece
            number += 1
            piece = f"{key}*{number}*="
        piece += character
    yield piece
