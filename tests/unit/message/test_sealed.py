"""Sealed values and bytes: opened only as they were sealed, by a key that is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from outbox.core.errors import DamagedMessageError
from outbox.message import keyring, sealed, sealed_bytes
from outbox.message.keyring import Keyring

OLD, NEW = b"o" * 32, b"n" * 32
SIZES = (0, 1, sealed_bytes.SEGMENT - 1, sealed_bytes.SEGMENT, sealed_bytes.SEGMENT + 1, 2 * sealed_bytes.SEGMENT)


@pytest.fixture
def ring() -> Iterator[Keyring]:
    """A keyring that this process knows."""
    ring = Keyring((OLD,))
    ring.introduce(b"addresses")
    yield ring
    keyring.forget()


@pytest.mark.parametrize("size", SIZES)
def test_some_of_the_bytes_are_read_without_the_rest(ring: Keyring, size: int) -> None:
    """From anywhere to anywhere, over the ends of segments."""
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    whole = sealed_bytes.seal(data, "blob", ring.new())
    assert len(whole) == sealed_bytes.sealed_length(size)
    assert sealed_bytes.clear_length(len(whole)) == size
    assert sealed_bytes.open_all(whole, "blob") == data
    header = whole[: sealed_bytes.HEADER]
    for start in {0, 1, size // 2, max(0, size - 1)}:
        for length in (0, 1, 100, size):
            part = sealed_bytes.open_part(header, start, length, size, "blob", lambda at, n: whole[at : at + n])
            assert part == data[start : start + length]


def test_what_was_changed_does_not_open(ring: Keyring) -> None:
    """Not with a flipped byte anywhere, not cut off, not in another order, not in another column."""
    data = b"secret" * sealed_bytes.SEGMENT
    whole = sealed_bytes.seal(data, "skeleton", ring.new())
    header, step = sealed_bytes.HEADER, sealed_bytes.SEGMENT + 16
    first, second = whole[header : header + step], whole[header + step : header + 2 * step]
    changed = [
        *(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (20, header - 1, header, len(whole) - 1)),
        whole[: header + 2 * step],
        whole[:header] + second + first + whole[header + 2 * step :],
    ]
    for one in changed:
        with pytest.raises(DamagedMessageError):
            sealed_bytes.open_all(one, "skeleton")
    with pytest.raises(DamagedMessageError):
        sealed_bytes.open_all(whole, "blob")
    text = sealed.seal("ann@example.org", "recipient", ring.new())
    assert sealed.open_text(text, "recipient") == "ann@example.org"
    for one, purpose in ((text, "reply"), (text[:-8] + "AAAAAAA=", "recipient"), (text[:30], "recipient")):
        opened = sealed.open_text(one, purpose)
        assert isinstance(opened, sealed.Unreadable)
        assert not opened.missing


def test_a_key_that_is_missing_is_named(ring: Keyring) -> None:
    """By its name, which is no secret; nothing else of it is told."""
    text = sealed.seal("ann@example.org", "recipient", ring.new())
    whole = sealed_bytes.seal(b"x", "blob", ring.new())
    keyring.forget()
    opened = sealed.open_text(text, "recipient")
    assert isinstance(opened, sealed.Unreadable)
    assert opened.missing
    assert f"the key {ring.newest}, which is not in OUTBOX_ENCRYPTION_KEYS" in opened
    with pytest.raises(sealed_bytes.SealedWithoutKeyError, match=ring.newest):
        sealed_bytes.open_all(whole, "blob")
    assert OLD.decode() not in repr(ring) + repr(ring.new())


def test_a_new_key_wraps_without_decrypting(ring: Keyring) -> None:
    """Afterwards the old one is not needed."""
    text, whole = sealed.seal("ann", "subject", ring.new()), sealed_bytes.seal(b"text", "blob", ring.new())
    both, new = Keyring((NEW, OLD)), Keyring((NEW,))
    again = sealed.wrapped_again(text, both)
    header = sealed_bytes.header_again(whole[: sealed_bytes.HEADER], both)
    assert again is not None
    assert header is not None
    keyring.forget()
    new.introduce(b"")
    assert sealed.open_text(again, "subject") == "ann"
    assert sealed_bytes.open_all(header + whole[sealed_bytes.HEADER :], "blob") == b"text"
    assert sealed.wrapped_again(text, new) is None


def test_what_is_too_long_is_cut_to_the_column(ring: Keyring) -> None:
    """Within a character never."""
    text = sealed.seal("ü" * 998, "subject", ring.new(), 998)
    assert len(text) <= 998
    opened = sealed.open_text(text, "subject")
    assert opened == "ü" * (len(opened) - 1) + "…"
    assert len(opened) > 300


@pytest.mark.parametrize("given", ["", "kurz", "!" * 44, "A" * 44 + "A" * 44])
def test_a_key_that_is_none_is_not_quoted(given: str) -> None:
    """It may be most of one."""
    with pytest.raises(ValueError, match="holds a key") as caught:
        keyring.parse_key(given)
    assert not given or given not in str(caught.value)
