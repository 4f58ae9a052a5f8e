"""Both ways to wait say the same."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from outbox.core.readiness import by_poll, by_select


@pytest.mark.parametrize("way", [by_poll, by_select])
def test_what_is_ready(way: Callable[..., list[int]]) -> None:
    """What can be read, what can be written, what is broken; nothing where nothing comes."""
    one, other = socket.socketpair()
    with one, other:
        assert way(0.01, (one.fileno(),), ()) == []
        assert way(5, (), (one.fileno(),)) == [one.fileno()]
        other.send(b".")
        assert way(5, (one.fileno(),), (other.fileno(),)) == [one.fileno(), other.fileno()]
        other.close()
        one.recv(1)
        assert way(5, (one.fileno(),), ()) == [one.fileno()]
