"""Puts the stored pieces of a mail together: small blobs that many mails share (a logo) are kept within a bound, large
ones, and long texts, are read piece by piece as they are sent."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

from outbox.core.errors import DamagedMessageError
from outbox.message.values import BASE64_CUT, base64_chunks, base64_length
from outbox.store.messages import StoredMessage

LARGEST = 256 * 1024
"""Bytes: a larger blob is not kept."""

CAPACITY = 8 * 1024 * 1024
"""Bytes kept in all."""

PIECE = 8 * BASE64_CUT
"""Bytes of a large blob or text that are in memory at once, for each connection that sends one."""


class Pieces:
    """What `read` yields, as often as it is asked for."""

    def __init__(self, read: Callable[[], Iterator[bytes]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[bytes]:
        return self._read()


class BlobCache:
    """A least-recently-used cache of blobs by digest, for several threads."""

    def __init__(
        self,
        size: Callable[[str], int],
        fetch: Callable[[str, int, int], bytes],
        fetch_text: Callable[[StoredMessage, int, int], bytes],
        step: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`fetch(digest, start, length)` reads some of a blob, `size(digest)` tells how many bytes it has.

        `fetch_text(message, start, length)` reads some of a skeleton that the claim left where it was. Each of these
        calls, which may have to wait for the database, is made within a `step()`.
        """
        self._step = step
        self._fetch_text = fetch_text
        self._size_of = size
        self._fetch = fetch
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def content(self, message: StoredMessage) -> Pieces | tuple[bytes, ...]:
        """The wire form in pieces, which may be read again. Raises DamagedMessageError at once if it is not what was
        written."""
        if message.damage is not None:
            raise DamagedMessageError(message.damage)
        if message.skeleton is not None and not message.parts and not message.skips and not message.head:
            if len(message.skeleton) != message.size:
                raise _not_whole(len(message.skeleton), message)
            return (message.skeleton,)
        parts = [(offset, digest, self._measure(digest)) for offset, digest in message.parts]
        size = (
            len(message.head)
            + _text_size(message)
            - message.skips
            + sum(base64_length(length) for _, _, length in parts)
        )
        if size != message.size:
            raise _not_whole(size, message)
        return Pieces(lambda: self._spliced(message, parts))

    def pieces(self, digest: str, size: int) -> Iterator[bytes]:
        """The content of a blob. Raises what `fetch` raises."""
        if size > LARGEST:
            for start in range(0, size, PIECE):
                with self._step():
                    piece = self._fetch(digest, start, PIECE)
                yield piece
        else:
            yield self._small(digest, size)

    def _spliced(self, message: StoredMessage, parts: list[tuple[int, str, int]]) -> Iterator[bytes]:
        start = message.skips
        if message.head:
            yield message.head
        for offset, digest, size in parts:
            yield from self._text(message, start, offset)
            for piece in self.pieces(digest, size):
                yield from base64_chunks(piece)
            start = offset
        yield from self._text(message, start, _text_size(message))

    def _text(self, message: StoredMessage, start: int, end: int) -> Iterator[bytes]:
        """The skeleton from byte `start` to `end`."""
        if message.skeleton is not None:
            yield message.skeleton[start:end]
            return
        for at in range(start, end, PIECE):
            with self._step():
                piece = self._fetch_text(message, at, min(PIECE, end - at))
            yield piece

    def _measure(self, digest: str) -> int:
        """Its size, as it is now: it may have been purged by hand. What is kept needs no asking."""
        kept = self._kept.get(digest)
        if kept is not None:
            return len(kept)
        with self._step():
            return self._size_of(digest)

    def _small(self, digest: str, size: int) -> bytes:
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
                return self._kept[digest]
        with self._step():
            data = self._fetch(digest, 0, size)
        self._keep(digest, data)
        return data

    def _keep(self, digest: str, data: bytes) -> None:
        with self._lock:
            if digest not in self._kept:
                self._kept[digest] = data
                self._size += len(data)
            while self._size > CAPACITY:
                self._size -= len(self._kept.popitem(last=False)[1])


def _not_whole(size: int, message: StoredMessage) -> DamagedMessageError:
    return DamagedMessageError(f"{size} bytes are stored where {message.size} were written")


def _text_size(message: StoredMessage) -> int:
    return message.skeleton_size if message.skeleton is None else len(message.skeleton)
