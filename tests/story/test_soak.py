"""A short soak on each database: 300 mails, 15 kills. `make soak` is the long one."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.servers.databases import Database
from tests.story.soak import soak


@pytest.mark.parametrize("policy", ["retry", "hold"])
def test_soak(database: Database, tmp_path: Path, policy: str) -> None:
    """Whoever dies when: nothing lost, nothing sent that was rolled back, duplicates only as promised."""
    account = soak(
        database, tmp_path, mails=300, kills=15, policy=policy, seed=zlib.crc32(f"{database.name} {policy}".encode())
    )
    assert account.kills == 15
    assert account.lost == set()
    assert account.ghosts == set()
    assert account.unlisted == set()
    assert account.altered == 0
    assert account.states["failed"] == 0
    if policy == "hold":
        assert account.duplicates == 0
    else:
        assert account.uncertain == set()
        assert account.duplicates <= account.allowed_duplicates
