"""Blobs at hand: shared ones are fetched once, big ones are not kept."""

from __future__ import annotations

from outbox.message import Blob
from outbox.shelf import CAPACITY, LARGEST, Shelf


def counting(sizes: dict[str, int]) -> tuple[Shelf, list[str]]:
    """A shelf over made-up blobs, and the list of what it fetched."""
    fetched: list[str] = []

    def fetch(digest: str) -> Blob:
        fetched.append(digest)
        return Blob(b"x" * sizes[digest])

    return Shelf(fetch), fetched


def test_a_shared_logo_is_fetched_once() -> None:
    """Ten thousand mails with one logo ask the database once."""
    shelf, fetched = counting({"logo": 50_000})
    assert {len(shelf.get("logo")) for _ in range(10)} == {50_000}
    assert fetched == ["logo"]


def test_a_big_part_is_not_kept() -> None:
    """A film would push out everything else."""
    shelf, fetched = counting({"film": LARGEST + 1})
    shelf.get("film")
    shelf.get("film")
    assert fetched == ["film", "film"]


def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    """Over the bound the one that was not asked for longest is dropped."""
    count = CAPACITY // LARGEST + 1
    shelf, fetched = counting({str(number): LARGEST for number in range(count)})
    for number in range(count - 1):
        shelf.get(str(number))
    shelf.get("0")
    shelf.get(str(count - 1))  # pushes out 1
    fetched.clear()
    shelf.get("0")
    assert fetched == []
    shelf.get("1")
    assert fetched == ["1"]
