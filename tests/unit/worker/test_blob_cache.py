"""Blobs at hand: shared ones are fetched once, big ones are not kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from outbox.core.errors import DamagedMessageError
from outbox.delivery.states import OnUncertain
from outbox.message.values import Blob, base64_length, splice
from outbox.store.messages import StoredMessage
from outbox.worker.blob_cache import CAPACITY, LARGEST, PIECE, BlobCache


def counting(blobs: dict[str, bytes]) -> tuple[BlobCache, list[tuple[str, int]]]:
    """A blob_cache over these blobs, and the list of what it fetched: digest and number of bytes."""
    fetched: list[tuple[str, int]] = []

    def fetch(digest: str, start: int, length: int) -> bytes:
        piece = blobs[digest][start : start + length]
        fetched.append((digest, len(piece)))
        return piece

    def fetch_text(message: StoredMessage, start: int, length: int) -> bytes:
        return fetch(message.message_id, start, length)

    return BlobCache(lambda digest: len(blobs[digest]), fetch, fetch_text), fetched


def whole(blob_cache: BlobCache, digest: str, size: int) -> bytes:
    """The content of a blob in one piece."""
    return b"".join(blob_cache.pieces(digest, size))


def test_a_shared_logo_is_fetched_once() -> None:
    """Ten thousand mails with one logo ask the database once."""
    blob_cache, fetched = counting({"logo": b"x" * 50_000})
    assert {len(whole(blob_cache, "logo", 50_000)) for _ in range(10)} == {50_000}
    assert fetched == [("logo", 50_000)]


def test_a_big_part_is_read_piece_by_piece_and_not_kept() -> None:
    """A film would push out everything else, and one for each connection would fill the memory."""
    size = 2 * PIECE + 5
    film = bytes(range(256)) * (size // 256 + 1)
    blob_cache, fetched = counting({"film": film[:size]})
    for _ in range(2):
        assert whole(blob_cache, "film", size) == film[:size]
    assert fetched == [("film", PIECE), ("film", PIECE), ("film", 5)] * 2


@pytest.mark.parametrize("size", [0, 1, LARGEST, LARGEST + 1, PIECE, PIECE + 56, 3 * PIECE - 1])
def test_the_pieces_make_the_wire_form(size: int) -> None:
    """Wherever the content is cut, its base64 lines are those of the whole."""
    blob = Blob(bytes(number % 251 for number in range(size)))
    skeleton = b"before\r\n\r\nafter\r\n"
    blob_cache, _ = counting({"it": blob.data})
    message = stored(skeleton, ((10, "it"),), len(skeleton) + base64_length(size))
    assert b"".join(blob_cache.content(message)) == b"".join(splice(skeleton, ((10, blob),)))


@pytest.mark.parametrize("offset", [0, 10, PIECE, PIECE + 1, 2 * PIECE + 5])
def test_a_long_text_is_read_piece_by_piece(offset: int) -> None:
    """Where the claim has left it: with a big part in any place, it is the same to the byte, never whole in memory."""
    text = bytes(number % 251 for number in range(2 * PIECE + 5))
    blob = Blob(b"a part")
    blob_cache, fetched = counting({"it": blob.data, "<1@x>": text})
    message = stored(text, ((offset, "it"),), len(text) + base64_length(6))
    message.skeleton, message.skeleton_size = None, len(text)
    assert b"".join(blob_cache.content(message)) == b"".join(splice(text, ((offset, blob),)))
    assert max(length for _, length in fetched) <= PIECE


def test_what_is_not_what_was_written_is_told_before_anything_is_sent() -> None:
    """A blob of another length has been tampered with, or was restored wrongly."""
    blob_cache, fetched = counting({"it": b"short"})
    with pytest.raises(DamagedMessageError):
        blob_cache.content(stored(b"\r\n", ((2, "it"),), 4_000))
    assert fetched == []


def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    """Over the bound the one that was not asked for longest is dropped."""
    count = CAPACITY // LARGEST + 1
    blob_cache, fetched = counting({str(number): b"x" * LARGEST for number in range(count)})
    for number in range(count - 1):
        whole(blob_cache, str(number), LARGEST)
    whole(blob_cache, "0", LARGEST)
    whole(blob_cache, str(count - 1), LARGEST)  # pushes out 1
    fetched.clear()
    whole(blob_cache, "0", LARGEST)
    assert fetched == []
    whole(blob_cache, "1", LARGEST)
    assert fetched == [("1", LARGEST)]


def stored(skeleton: bytes, parts: tuple[tuple[int, str], ...], size: int) -> StoredMessage:
    """A message with these parts."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    return StoredMessage(
        1, "<1@x>", "", None, "a@x", size, False, (), (), OnUncertain.RETRY, now, None, skeleton, parts
    )
