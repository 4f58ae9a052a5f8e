"""By which keys one transport signs its mail (DKIM): a value, read from the configuration once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from outbox.core.errors import ConfigurationError
from outbox.message.dkim.keys import RSA, DkimKey, read_key
from outbox.settings.token_source import is_there

_OTHERS = 0o007  # permission bits of users who are neither the file's owner nor in its group


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the private key of one selector is."""

    selector: str
    path: Path | None = None
    pem: str | None = field(default=None, repr=False)  # the key itself, in place of a file

    def read(self) -> DkimKey:
        """The key. Raises OSError; ValueError, whose sentence goes after "the key of …"."""
        content = (self.pem or "").encode() if self.path is None else self.path.read_bytes()
        return read_key(self.selector, content)

    @property
    def fault(self) -> str | None:
        """What is wrong with it, as a sentence; what only the worker may read counts as right."""
        path = self.path
        if path is not None and not is_there(path):
            return (
                f"OUTBOX_DKIM_KEYS: the key file {str(path)!r} of the selector {self.selector!r} does not exist. Make "
                f"one with `outbox-dkim-key {self.selector} {path}`, or correct the path."
            )
        try:
            if path is not None and path.stat().st_mode & _OTHERS:
                return (
                    f"OUTBOX_DKIM_KEYS: every user of this machine may use the key file {str(path)!r} of the selector "
                    f"{self.selector!r} (mode {path.stat().st_mode & 0o777:04o}). Run `chmod 600 {path}`; as a "
                    "mounted secret, give it the mode 0400."
                )
            self.read()
        except OSError:
            return None
        except ValueError as problem:
            return f"OUTBOX_DKIM_KEYS: the key of the selector {self.selector!r} {problem}."
        return None


@dataclass(frozen=True, slots=True)
class Dkim:
    """The domain that signs, and its keys: of those of one kind the first signs new mail."""

    domain: str
    sources: tuple[KeySource, ...]

    def read_keys(self) -> list[DkimKey]:
        """Those of all selectors. Raises ConfigurationError with every fault."""
        found, faults = [], []
        for source in self.sources:
            try:
                found.append(source.read())
            except OSError as error:
                faults.append(
                    f"the DKIM key file {str(source.path)!r} can't be read: {error.strerror or type(error).__name__}. "
                    "The user that the worker runs as must be able to."
                )
            except ValueError as problem:
                faults.append(f"the DKIM key of the selector {source.selector!r} {problem}.")
        if faults:
            raise ConfigurationError(faults)
        return found

    def remarks(self, preset: str) -> Iterator[str]:
        """What is not wrong, and may be a mistake, on a transport with this preset."""
        for source in self.sources:
            try:
                key = source.read()
            except (OSError, ValueError):
                continue
            if key.is_small:
                yield (
                    f"the DKIM key {key.selector} is an RSA key of {key.bits} bits: 2048 are advised (RFC 8301). Make "
                    "another with `outbox-dkim-key`, and list it first in OUTBOX_DKIM_KEYS"
                )
            if key.algorithm != RSA and not self._has_rsa():
                yield (
                    f"the DKIM key {key.selector} is the only kind of key, and many receivers can't verify Ed25519 "
                    "yet: add an RSA key, and mail is signed by both"
                )
        if preset == "ses":
            yield (
                "mail to Amazon SES is signed by OUTBOX_DKIM_KEYS, but SES replaces Date and Message-ID, which breaks "
                "the signature. Leave it out: SES signs itself (Easy DKIM)"
            )

    def _has_rsa(self) -> bool:
        for source in self.sources:
            try:
                if source.read().algorithm == RSA:
                    return True
            except (OSError, ValueError):
                return True  # nobody knows
        return False
