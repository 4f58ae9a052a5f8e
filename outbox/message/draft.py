"""A message as the application gave it, before anything in it is checked: what `compose` reads.

The values may be anything that callers put there (lazy strings, bytes, iterators); `coerce.py` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attachment as it was given."""

    filename: object = None
    content_type: object = None
    data: object = None
    disposition: object = None
    headers: object = None  # a mapping or pairs


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as it was given. Fields are named as callers know them, for the errors say those names."""

    subject: object = None
    sender: object = None
    recipients: object = None
    cc: object = None
    bcc: object = None
    send_to: object = None  # the envelope's recipients, where they are not To, Cc and Bcc
    reply_to: object = None
    date: object = None  # seconds since 1970
    message_id: object = None
    names_host: Callable[[], bool] = bool
    """Whether the Message-ID was made of this machine's name: it counts in no other domain. May ask a name server."""
    extra_headers: object = None  # a mapping or pairs
    body: object = None
    alts: object = None  # by subtype of text
    attachments: Sequence[Attachment] = ()
    charset: object = None
    options: Callable[[], tuple[object, object]] = lambda: (None, None)
    """`mail_options` and `rcpt_options`: asked for once the bytes are built, for what builds them may choose them."""
    signer: Callable[[bytes], bytes] | None = None
    build: Callable[[float, str], object] | None = None
    """Builds the bytes that are sent, for a time in seconds since 1970 and a Message-ID; None: they are composed."""

    @property
    def repeats(self) -> bool:
        """Whether two drafts with the same arguments become the same bytes."""
        return self.build is None and not self.signer
