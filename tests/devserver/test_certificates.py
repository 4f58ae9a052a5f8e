"""The local SMTP server's certificate."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devserver import certificates

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "ca.pem", tmp_path / "smtp.pem"


def test_made_once_and_kept(files: tuple[Path, Path]) -> None:
    """A second start uses what the first one made."""
    assert certificates.ensure(*files, now=NOW)
    before = [file.read_bytes() for file in files]
    assert not certificates.ensure(*files, now=NOW + timedelta(days=300))
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("days", [340, 365, 4000])
def test_made_anew_before_it_expires(files: tuple[Path, Path], days: int) -> None:
    """Thirty days before its end, and any time after, there is a new one."""
    certificates.ensure(*files, now=NOW)
    assert certificates.ensure(*files, now=NOW + timedelta(days=days))
    assert not certificates.ensure(*files, now=NOW + timedelta(days=days))


def test_made_anew_when_damaged(files: tuple[Path, Path]) -> None:
    """An authority that does not read, or is gone, is replaced together with the certificate."""
    for damage in (lambda: files[0].write_text("no certificate"), files[1].unlink):
        certificates.ensure(*files, now=NOW)
        damage()
        assert certificates.ensure(*files, now=NOW)


def test_key_is_for_its_owner_alone(files: tuple[Path, Path]) -> None:
    """Nobody else on the machine reads the private key."""
    certificates.ensure(*files, now=NOW)
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o600
