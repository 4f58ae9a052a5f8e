"""The body of a draft → a tree of MIME parts, in the form of DESIGN §3:

`mixed › alternative › [text, related › [html, inline images]] › attachments`, and no container that is not needed.

An attachment is an inline image when the HTML refers to its Content-ID (RFC 2392), whatever its disposition says, since
people forget `disposition="inline"`.
Parts that may not be base64 (RFC 2046 §5): `message/rfc822` is written as it is where it is 7-bit and its lines are
short, with CRLF as its line ends; else, and every other `message/…` and `multipart/…`, it goes as
`application/octet-stream`, so that its bytes arrive unchanged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from outbox.core.errors import BadHeaderError, MessageError
from outbox.message import html_to_text, serializer
from outbox.message.coerce import file_name, kind_of, pairs_of, text_of
from outbox.message.content_ids import references_in
from outbox.message.draft import Attachment, Draft
from outbox.message.header_encoding import (
    check_name,
    check_text,
    clean_text,
    encoded_words,
    fold,
    fold_parameters,
    unstructured,
)
from outbox.message.received import decoded, unfolded

_RESTRICTED = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"  # RFC 6838 §4.2
_MEDIA_TYPE = re.compile(rf"\s*({_RESTRICTED})/({_RESTRICTED})\s*((?:;.*)?)")
_PARAMETER = re.compile(rf';\s*({_RESTRICTED})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))\s*|;\s*')
_ESCAPE = re.compile(r"\\(.)")
_DISPOSITION = re.compile(_RESTRICTED)
_CONTENT_ID = re.compile(r"<?([!-;=?-~]{1,900})>?")
_WRITTEN_BY_US = frozenset({"content-type", "content-disposition", "content-transfer-encoding", "mime-version"})
_METHOD = re.compile(r"^METHOD:([A-Za-z-]{1,40})[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_FILENAME_LENGTH = 1000  # characters


@dataclass(frozen=True, slots=True)
class Options:
    """What shapes the parts beside the message itself."""

    charset: str
    ascii_attachments: bool
    blob_threshold: int  # bytes
    unique: str
    name_fallback: bool = False  # file names beyond ASCII also as name= of the Content-Type, by RFC 2047
    html: Callable[[str], str] | None = None  # makes of the HTML what is sent
    image: Callable[[str], Attachment | None] | None = None  # by Content-ID, what the draft lacks


@dataclass(slots=True)
class _Media:
    """A media type with its parameters (RFC 2045 §5.1)."""

    main: str
    sub: str
    parameters: list[tuple[str, str]] = field(default_factory=list)

    def parameter(self, name: str) -> str | None:
        return next((value for key, value in self.parameters if key == name), None)

    def with_charset(self, charset: str) -> _Media:
        others = [(key, value) for key, value in self.parameters if key != "charset"]
        return _Media(self.main, self.sub, [("charset", charset), *others])


def tree(draft: Draft, options: Options) -> serializer.Leaf | serializer.Multipart:
    """The body of `draft`. Raises MessageError."""
    alternatives = _alternatives(draft, options.html)
    html = "\n".join([text for subtype, text in alternatives if subtype == "html"])
    text = _plain(draft, html, alternatives)
    inline, attached = _attachments(draft, html, options)
    parts: list[serializer.Leaf | serializer.Multipart] = [serializer.text_part("plain", text, options.charset)]
    for subtype, content in alternatives:
        part: serializer.Leaf | serializer.Multipart = _alternative(subtype, content, options)
        if subtype == "html":
            part, inline = serializer.container("related", [part, *inline]), []
        parts.append(part)
    return serializer.container("mixed", [serializer.container("alternative", parts), *attached])


def _plain(draft: Draft, html: str, alternatives: list[tuple[str, str]]) -> str:
    body = "" if draft.body is None else _body(draft.body, "body")
    if body:
        return body
    for index, (subtype, text) in enumerate(alternatives):
        if subtype.lower() == "plain":
            del alternatives[index]
            return text
    return html_to_text.from_html(html) if html else ""


def _alternatives(draft: Draft, finish: Callable[[str], str] | None = None) -> list[tuple[str, str]]:
    """(subtype of text, content) in the order to be written: the best last.

    AMP goes before the rest (it has few readers), a calendar after it: readers that know it look at the last.
    """
    found = []
    for key, value in pairs_of(draft.alts, "alts"):
        subtype = check_text(text_of(key, "alts"), "alts", tab=False).strip()
        if subtype[:5].lower() == "text/":
            subtype = subtype[5:]
        text = "" if value is None else _body(value, f"alts[{subtype[:80]!r}]")
        if text:
            is_html = subtype.partition(";")[0].strip().lower() == "html"
            if is_html and finish is not None:
                text = finish(text)
            found.append(("html" if is_html else subtype, text))
    if len(found) > 1:
        found.sort(key=lambda alternative: _rank(alternative[0].lower()))
    return found


def _rank(subtype: str) -> int:
    return 0 if subtype.startswith("x-amp") else 2 if subtype.startswith("calendar") else 1


def _alternative(subtype: str, content: str, options: Options) -> serializer.Leaf:
    if subtype == "html":
        return serializer.text_part(subtype, content, options.charset)
    media = _media(f"text/{subtype}", "alts")
    parameters = [parameter for parameter in media.parameters if parameter[0] != "charset"]
    if media.sub == "calendar" and media.parameter("method") is None and (method := _METHOD.search(content)):
        parameters.append(("method", method[1].upper()))  # RFC 6047 §2.4: without it nobody is asked
    return serializer.text_part(media.sub, content, options.charset, parameters)


def _body(value: object, name: str) -> str:
    text = text_of(value, name)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MessageError(
            name,
            f"holds half a surrogate pair at character {error.start}, which no charset can carry",
            "Decode the input with its right charset, or drop it: text.encode('utf-8', 'replace').decode().",
        )
    return text


def _attachments(draft: Draft, html: str, options: Options) -> tuple[list[serializer.Leaf], list[serializer.Leaf]]:
    """Inline images that the HTML refers to, and the rest, each in order."""
    references = references_in(html)
    given: set[str | None] = set()
    inline: list[serializer.Leaf] = []
    attached: list[serializer.Leaf] = []
    for index, attachment in enumerate(draft.attachments):
        name = f"attachments[{index}]"
        disposition = _disposition(attachment, name)
        headers, content_id = _part_headers(attachment, name)
        is_inline = content_id in references
        leaf = _leaf(attachment, name, "inline" if is_inline else disposition, headers, options)
        (inline if is_inline else attached).append(leaf)
        given.add(content_id)
    if options.image is not None:
        for reference in references:
            if reference not in given and (shown := options.image(reference)) is not None:
                headers, _ = _part_headers(shown, reference)
                inline.append(_leaf(shown, reference, "inline", headers, options))
    return inline, attached


def _leaf(attachment: Attachment, name: str, disposition: str, headers: bytes, options: Options) -> serializer.Leaf:
    media, data = _content(attachment, name)
    filename = _filename(attachment, name, ascii_only=options.ascii_attachments)
    if not filename and media.main == "message" and media.sub == "rfc822":
        filename = "message.eml"  # readers show one without a name as "noname", or can't open it
    fallback = filename if options.name_fallback and media.parameter("name") is None else ""
    parameters = [("filename", filename)] if filename else []
    after = fold_parameters("Content-Disposition", disposition, parameters) + headers
    if media.main == "message" and media.sub == "rfc822":
        clean = serializer.canonical(data.decode("latin-1")).encode("latin-1")
        if serializer.is_clean(clean) and not serializer.may_hold_boundary(clean, options.unique):
            head = _type_of(media, fallback)
            return serializer.Leaf(head + b"Content-Transfer-Encoding: 7bit\r\n" + after, clean + b"\r\n")
    if media.main in {"message", "multipart"}:
        media = _Media("application", "octet-stream")
    return serializer.binary_part(_type_of(media, fallback) + after, data, options.blob_threshold)


def _type_of(media: _Media, fallback: str) -> bytes:
    """The Content-Type field; a `fallback` beyond ASCII goes into it in encoded words, which Outlook reads there."""
    head = fold_parameters("Content-Type", f"{media.main}/{media.sub}", media.parameters)
    if fallback.isascii():
        return head
    words = encoded_words(fallback, room=66).replace(" ", "\r\n ")
    return head.removesuffix(b"\r\n") + f';\r\n name="{words}"\r\n'.encode("ascii")


def _content(attachment: Attachment, name: str) -> tuple[_Media, bytes]:
    media = _media(text_of(attachment.content_type, f"{name}.content_type"), f"{name}.content_type")
    data: object = attachment.data
    if isinstance(data, bytes | bytearray | memoryview):
        return media, bytes(data)
    if not isinstance(data, str):
        raise MessageError(
            f"{name}.data", f"is {kind_of(data)}", "Give bytes, or text as str; of a file give what its read() returns."
        )
    text = _body(data, f"{name}.data")
    if media.main != "text":
        return media, text.encode()
    try:
        encoded, label = serializer.encode_text(text, media.parameter("charset") or "utf-8")
    except LookupError:
        encoded, label = text.encode(), "utf-8"
    return media.with_charset(label), encoded


def _media(text: str, name: str) -> _Media:
    found = _MEDIA_TYPE.fullmatch(check_text(text, name))
    parameters = _parameters(found.group(3)) if found else None
    if found is None or parameters is None:
        raise MessageError(name, f"{text[:120]!r} is not a media type (RFC 2045 §5.1)", "Use one like application/pdf.")
    return _Media(found.group(1).lower(), found.group(2).lower(), parameters)


def _parameters(text: str) -> list[tuple[str, str]] | None:
    """The parameters of a media type, the first of each name; None if they are malformed."""
    parameters: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = _PARAMETER.match(text, position)
        if found is None:
            return None
        key, quoted, token = found.groups()
        if key:
            parameters.setdefault(key.lower(), token if quoted is None else _ESCAPE.sub(r"\1", quoted))
        position = found.end()
    return list(parameters.items())


def _filename(attachment: Attachment, name: str, *, ascii_only: bool) -> str:
    if attachment.filename is None:
        return ""
    filename = clean_text(file_name(attachment.filename, f"{name}.filename"), f"{name}.filename", tab=False)
    if ascii_only:
        filename = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode("ascii")
        filename = _SPACES.sub(" ", filename).strip()
    if len(filename) > _FILENAME_LENGTH:
        raise MessageError(f"{name}.filename", f"is longer than {_FILENAME_LENGTH} characters", "Shorten it.")
    return filename


def _disposition(attachment: Attachment, name: str) -> str:
    disposition = check_text(text_of(attachment.disposition, f"{name}.disposition"), f"{name}.disposition").strip()
    if _DISPOSITION.fullmatch(disposition) is None:
        raise MessageError(f"{name}.disposition", f"is {disposition[:80]!r}", "Use 'attachment' or 'inline'.")
    return disposition


def _part_headers(attachment: Attachment, name: str) -> tuple[bytes, str | None]:
    """The attachment's own header lines, and its Content-ID without the angle brackets."""
    lines, content_id = [], None
    for key, value in pairs_of(attachment.headers, f"{name}.headers"):
        field_name = check_name(text_of(key, f"{name}.headers"), f"{name}.headers")
        label = f"{name}.headers[{field_name!r}]"
        text = unfolded(text_of(value, label))
        if field_name.lower() in _WRITTEN_BY_US:
            raise MessageError(label, "is written by the outbox itself", "Use content_type, filename and disposition.")
        if field_name.lower() == "content-id":
            if content_id is not None:
                raise MessageError(label, "is given twice", "Give one.")
            content_id = _content_id(check_text(text, label), label)
            text = f"<{content_id}>"
        lines.append(fold(field_name, _encoded(field_name, text, label), label))
    return b"".join(lines), content_id


def _encoded(name: str, text: str, label: str) -> str:
    text = clean_text(decoded(text), label)
    if name.lower() in {"content-id", "content-location", "content-base", "content-language"}:
        if not text.isascii():
            raise BadHeaderError(label, "is not ASCII", "Percent-encode it.")
        return text.strip(" \t")
    return unstructured(name, text)


def _content_id(text: str, label: str) -> str:
    found = _CONTENT_ID.fullmatch(text.strip(" \t"))
    if found is None:
        raise MessageError(
            label, f"{text[:120]!r} is not a Content-ID", "Use one like <logo>, and cid:logo in the HTML."
        )
    return found.group(1)
