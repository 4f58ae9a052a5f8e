"""Puts the stored pieces of a mail together; small blobs that many mails share (a logo) are kept within a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from outbox.errors import DamagedMessageError
from outbox.message import Blob, base64_length, splice
from outbox.stored import Stored

LARGEST = 256 * 1024
"""Bytes: a larger blob is fetched each time."""

CAPACITY = 8 * 1024 * 1024
"""Bytes kept in all."""


class Shelf:
    """A least-recently-used cache of blobs by digest, for several threads."""

    def __init__(self, fetch: Callable[[str], Blob]) -> None:
        self._fetch = fetch
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def content(self, message: Stored) -> Iterator[bytes]:
        """The wire form in pieces. Raises DamagedMessageError at once if it is not what was written."""
        if message.damage is not None:
            raise DamagedMessageError(message.damage)
        blobs = tuple((offset, Blob(self.get(digest))) for offset, digest in message.parts)
        size = len(message.skeleton) + sum(base64_length(len(blob.data)) for _, blob in blobs)
        if size != message.size:
            raise DamagedMessageError(f"{size} bytes are stored where {message.size} were written")
        return splice(message.skeleton, blobs)

    def get(self, digest: str) -> bytes:
        """The content of a blob. Raises what `fetch` raises."""
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
                return self._kept[digest]
        data = self._fetch(digest).data
        if len(data) <= LARGEST:
            self._keep(digest, data)
        return data

    def _keep(self, digest: str, data: bytes) -> None:
        with self._lock:
            if digest not in self._kept:
                self._kept[digest] = data
                self._size += len(data)
            while self._size > CAPACITY:
                self._size -= len(self._kept.popitem(last=False)[1])
