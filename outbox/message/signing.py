"""A signer of the application's over the composed body: S/MIME (RFC 8551), PGP/MIME (RFC 3156)."""

from __future__ import annotations

from collections.abc import Callable

from outbox.core.errors import MessageError
from outbox.message import serializer
from outbox.message.coerce import kind_of
from outbox.message.header_encoding import split_fields
from outbox.message.prebuilt import checked_lines, fields_of
from outbox.message.values import Blob

_VERSION = b"MIME-Version: 1.0\r\n"


def signed(
    fields: bytes, tree: serializer.Leaf | serializer.Multipart, unique: str, signer: Callable[[bytes], bytes]
) -> tuple[bytes, tuple[tuple[int, Blob], ...]]:
    """As `serializer.build`, with what `signer` makes of the body in place of it. Raises MessageError.

    `signer` gets the MIME entity (its Content-… lines, a blank line, the content; CRLF, 7-bit) and returns another,
    such as a multipart/signed, with a MIME-Version of its own or without.
    """
    entity, _ = serializer.build(b"", tree, unique)
    try:
        made: object = signer(entity.removeprefix(_VERSION))
    except Exception as error:
        raise MessageError("signer", f"raised {type(error).__name__}: {error}", "See the cause.") from error
    if not isinstance(made, bytes):
        raise MessageError("signer", f"returned {kind_of(made)}", "Return the signed MIME entity as bytes.")
    made = checked_lines(made, mixed=True)
    head, blank, body = made.partition(b"\r\n\r\n")
    names = [name.lower() for name, _ in fields_of(head)]
    if not blank or not made.isascii() or not _is_mime(names):
        raise MessageError(
            "signer",
            "returned what is not a MIME entity in ASCII",
            "Return one Content-Type and other Content-… lines, a blank line and the content, without From or Subject.",
        )
    kept = b"".join(
        field + b"\r\n" for name, field in zip(names, split_fields(head), strict=True) if name != "mime-version"
    )
    return fields + _VERSION + kept + b"\r\n" + body, ()


def _is_mime(names: list[str]) -> bool:
    """Whether these fields make an entity: each once, a Content-Type among them, none of the message's header."""
    allowed = all(name == "mime-version" or name.startswith("content-") for name in names)
    return allowed and "content-type" in names and len(set(names)) == len(names)
