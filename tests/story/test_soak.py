"""A short soak on each database: 300 mails, 15 kills. `make soak` is the long one."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.servers.databases import Database
from tests.story.soak import soak

pytestmark = pytest.mark.long


@pytest.mark.parametrize("policy", ["retry", "hold"])
def test_soak(database: Database, tmp_path: Path, policy: str) -> None:
    """Whoever dies when: nothing lost, nothing sent that was rolled back, duplicates only as promised."""
    account = soak(
        database, tmp_path, mails=300, kills=15, policy=policy, seed=zlib.crc32(f"{database.name} {policy}".encode())
    )
    assert account.kills == 15
    assert len(account.committed) == 300
    assert account.rolled_back
    print(account)  # `make test-engines` shows it
    assert list(account.faults(policy)) == []
