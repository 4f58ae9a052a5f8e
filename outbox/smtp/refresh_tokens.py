"""A refresh token that each use may replace (RFC 6749 §6): kept in a file, which processes take turns to use.

A provider that rotates them takes each once, and may revoke all when one comes twice. So the turn includes the request,
and the place for the new one is reserved on the disk before the old one is used up. Known limit: a machine that loses
its power between the provider's answer and the write has lost the new one, and its owner has to consent again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from outbox.core import clock
from outbox.smtp.token_answer import TokenError

SETTING = "OUTBOX_REFRESH_TOKEN_FILE"

_TURN_SECONDS = 40.0  # longer than a request takes
_LOOK_SECONDS = 0.05
_RESERVED = 65_536  # bytes, more than a token has


class RefreshTokens:
    """The token in a file, for as long as a turn lasts."""

    def __init__(self, file: Path, first: str | None) -> None:
        """`first`: the one of the settings. Another one than the kept ones came from replaces them."""
        self._file = file
        self._first = first

    @contextlib.contextmanager
    def turn(self) -> Iterator[str]:
        """The token to use now; no other process of this machine uses one meanwhile. Raises TokenError."""
        try:
            with _locked(self._file.with_name(f"{self._file.name}.lock")):
                try:
                    token = self._current()
                    self._write(self._next, b"")
                    yield token
                finally:
                    self._next.unlink(missing_ok=True)
        except OSError as error:
            words = error.strerror or type(error).__name__
            raise TokenError(f"{SETTING} ({self._file}) can't be read or written: {words}", refused=True) from None

    def replace(self, token: str) -> None:
        """Keep this one, durably. Within a turn. Raises OSError, which the turn reports."""
        said = {"refresh_token": token, "first": _digest(self._first)}
        content = json.dumps(said).encode()
        self._write(self._next, content)
        try:
            self._next.replace(self._file)
        except OSError:  # a single file that is mounted into a container can't be replaced, but written
            self._write(self._file, content)
        _sync(self._file.parent)

    @property
    def _next(self) -> Path:
        return self._file.with_name(f"{self._file.name}.new")

    def _current(self) -> str:
        try:
            text = self._file.read_text().strip()
        except FileNotFoundError:
            text = ""
        except UnicodeDecodeError:
            raise TokenError(f"{SETTING} ({self._file}) does not hold a refresh token", refused=True) from None
        kept, came_from = _read(text)
        if self._first is not None and (not kept or came_from not in {None, _digest(self._first)}):
            return self._first
        if not kept:
            words = f"{SETTING} ({self._file}) holds no refresh token, and OUTBOX_REFRESH_TOKEN is not set"
            raise TokenError(words, refused=True)
        return kept

    def _write(self, file: Path, content: bytes) -> None:
        """With blanks behind it, so that a later and longer content finds its place on the disk."""
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            _give_to_owner(stream.fileno(), file.parent)
            stream.write(content.ljust(_RESERVED) if len(content) < _RESERVED else content)
            stream.flush()
            os.fsync(stream.fileno())


def _read(text: str) -> tuple[str, str | None]:
    """The token and the digest of the setting that it came from; None where a person wrote the file."""
    try:
        said = json.loads(text)
    except ValueError:
        return text, None
    if not isinstance(said, Mapping):
        return text, None
    return str(said.get("refresh_token") or ""), str(said.get("first") or "")


def _digest(token: str | None) -> str:
    return hashlib.sha256(token.encode()).hexdigest() if token is not None else ""


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Alone among the processes of this machine, and the threads of this one. Raises TokenError if it takes long."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _give_to_owner(descriptor, file.parent)
        end = clock.monotonic() + _TURN_SECONDS
        while not _lock(descriptor):
            if clock.monotonic() >= end:
                raise TokenError(f"another process has used {SETTING} for {_TURN_SECONDS:.0f} s", refused=False)
            threading.Event().wait(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)  # which unlocks it


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _give_to_owner(descriptor: int, folder: Path) -> None:
    """What root makes (outbox-check in a container) the worker must be able to use: it is for the folder's owner."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _sync(folder: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
