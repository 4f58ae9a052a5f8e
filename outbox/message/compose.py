"""A draft → the bytes that will be sent, frozen, with all of the validation.

Pure: the clock and the one random value are arguments, there is no look-up and no application context. Whatever is
refused raises a MessageError before anything is written.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from datetime import datetime

from outbox.core.errors import MessageError, MessageTooLargeError
from outbox.message import addresses, message_ids, prebuilt, serializer
from outbox.message import body as parts
from outbox.message import header_section as head
from outbox.message.coerce import is_empty, items_of, pairs_of, plain, text_of
from outbox.message.downgrade import forms
from outbox.message.draft import Attachment, Draft
from outbox.message.header_encoding import check_text, split_fields
from outbox.message.signing import signed
from outbox.message.values import Composed, base64_length

_NEVER = 2**62  # bytes: no part is a blob
_OPTION = re.compile(r"[!-~]+")


def compose(
    draft: Draft,
    *,
    default_sender: str | tuple[str, str] | None,
    now: datetime,
    max_bytes: int,
    ascii_attachments: bool = False,
    name_fallback: bool = False,
    blob_threshold: int = 8192,
    envelope_from: str | tuple[str, str] | None = None,
    unique: str,
    html: Callable[[str], str] | None = None,
    image: Callable[[str], Attachment | None] | None = None,
) -> Composed:
    """The wire form of `draft`, its envelope and what is looked up by.

    `now` (aware) dates it if the draft does not. `unique` is a fresh `new_unique()`: Message-ID and boundaries are
    made of it. From `blob_threshold` bytes an attachment becomes a blob. An `envelope_from` of "" or "<>" is the null
    sender, None is the message's sender. `html` makes of its HTML what is sent; `image` finds by
    Content-ID what the HTML shows and the draft lacks. Raises MessageError and its subclasses, nothing else.
    """
    if draft.build is not None:
        return _as_given(draft, draft.build, default_sender, now, max_bytes, envelope_from, unique)
    header = head.header_of(draft, default_sender, now, unique)
    sender = header.sender.envelope if envelope_from is None else _envelope_from(envelope_from)
    threshold = _NEVER if draft.signer else blob_threshold
    options = parts.Options(_charset(draft), ascii_attachments, threshold, unique, name_fallback, html, image)
    tree = parts.tree(draft, options)
    built, blobs = (
        signed(header.wire(), tree, unique, draft.signer)
        if draft.signer
        else serializer.build(header.wire(), tree, unique)
    )
    skeleton, utf8, smtputf8 = forms(built, header.recipients)
    if len(skeleton) != len(built):
        blobs = tuple((offset + len(skeleton) - len(built), blob) for offset, blob in blobs)
    mail_options, rcpt_options = draft.options()
    size = _sized(len(skeleton) + sum([base64_length(len(blob.data)) for _, blob in blobs]), max_bytes)
    return Composed(
        message_id=header.message_id,
        envelope_from=sender,
        recipients=header.recipients,
        subject=header.subject,
        headers=tuple([(name, value) for name, value, _ in header.fields]),
        skeleton=skeleton,
        blobs=blobs,
        size=size,
        smtputf8=smtputf8,
        addresses=tuple(header.addresses),
        mail_options=_options(mail_options, "mail_options"),
        rcpt_options=_options(rcpt_options, "rcpt_options"),
        dated=header.dated,
        utf8=utf8,
    )


def _as_given(
    draft: Draft,
    build: Callable[[float, str], object],
    default_sender: str | tuple[str, str] | None,
    now: datetime,
    max_bytes: int,
    envelope_from: str | tuple[str, str] | None,
    unique: str,
) -> Composed:
    """A message that builds its bytes: they are what is sent."""
    author = head.author_of(draft, default_sender)
    message_id = message_ids.chosen(draft, author.domain, unique)
    built = prebuilt.given_by(lambda: build(now.timestamp(), message_id))
    prebuilt.check_author(built, author)
    prebuilt.check_thread(built, pairs_of(draft.extra_headers, "extra_headers"))
    if (dated := built.value("date")) is not None:
        head.given_date(dated, "Date")
    built = prebuilt.complete(built, head.date_value(now), message_id)
    mail_options, rcpt_options = draft.options()
    options = tuple(option for option in _options(mail_options, "mail_options") if option.lower()[:5] != "body=")
    return Composed(
        message_id=built.value("message-id") or message_id,
        envelope_from=author.envelope if envelope_from is None else _envelope_from(envelope_from),
        recipients=head.envelope_of(draft),
        subject=built.value("subject") or "",
        headers=tuple(built.fields),
        skeleton=built.content,
        size=_sized(len(built.content), max_bytes),
        smtputf8=not built.head.isascii(),
        addresses=tuple(built.addresses()),
        mail_options=options if built.content.isascii() else (*options, "BODY=8BITMIME"),
        rcpt_options=_options(rcpt_options, "rcpt_options"),
        dated=True,
    )


def _sized(size: int, max_bytes: int) -> int:
    if size > max_bytes:
        raise MessageTooLargeError(
            "message",
            f"has {size:,} bytes as it would be sent, more than the {max_bytes:,} of OUTBOX_MAX_MESSAGE_BYTES",
            "Send a link instead of the attachment, or raise the limit if the relay takes more.",
        )
    return size


def digest(draft: Draft, composed: Composed, unique: str) -> str | None:
    """What `composed` says and to whom, in hexadecimal digits: two calls with the same arguments have the same.

    None where it can't be told, since a subclass or a signer writes something new each time.
    """
    if not draft.repeats:
        return None
    head, gap, body = composed.skeleton.partition(b"\r\n\r\n")
    fields = [field for field in split_fields(head) if not field.lower().startswith((b"date:", b"message-id:"))]
    whole = hashlib.sha256()
    for piece in (b"\r\n".join(fields), gap, body):
        whole.update(piece.replace(unique.encode("ascii"), b""))
    for words in (composed.envelope_from, *sorted(composed.recipients), *(blob.digest for _, blob in composed.blobs)):
        whole.update(b"\0" + words.encode(errors="surrogateescape"))
    return whole.hexdigest()


def new_unique() -> str:
    """A fresh value for `compose(unique=…)`: 128 random bits in hexadecimal digits."""
    return secrets.token_hex(16)


def _envelope_from(value: str | tuple[str, str]) -> str:
    value = plain(value, "envelope_from")
    if isinstance(value, str) and text_of(value, "envelope_from").strip() in {"", "<>"}:
        return ""
    return addresses.sender_of(value, "envelope_from").envelope


def _charset(draft: Draft) -> str:
    if is_empty(draft.charset):
        return "utf-8"
    charset = text_of(draft.charset, "charset")
    check_text(charset, "charset", tab=False)
    try:
        serializer.charset_label(charset)
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        raise MessageError(
            "charset", f"{charset[:80]!r} is unknown", "Leave it out (UTF-8), or use one like iso-8859-1."
        )
    return charset


def _options(value: object, field: str) -> tuple[str, ...]:
    if is_empty(value):
        return ()
    options = tuple(text_of(option, field) for option in items_of(value, field))
    for option in options:
        if _OPTION.fullmatch(option) is None:
            raise MessageError(
                field, f"{option[:80]!r} is not an ESMTP parameter", "Use words like RET=HDRS, one an element."
            )
    return options
