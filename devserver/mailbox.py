"""A folder of messages, one .eml file each: written by the SMTP server, read by the pages."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from uuid import uuid4

SEARCHED = 1_000
"""How many of the newest a search reads."""

_PARSER = BytesParser(policy=policy.default)
_NAME = re.compile(r"[0-9]{8}T[0-9]{12}-[0-9a-f]{8}\Z")


@dataclass(frozen=True)
class Arrived:
    """One message as it arrived, with the envelope that RFC 5321 §4.4 lets the last server write on top."""

    name: str
    raw: bytes
    message: EmailMessage

    @property
    def at(self) -> datetime:
        return datetime.strptime(self.name[:21], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)

    @property
    def subject(self) -> str:
        return str(self.message.get("Subject", "")) or "(no subject)"

    @property
    def sender(self) -> str:
        return str(self.message.get("From", ""))

    @property
    def recipients(self) -> list[str]:
        """The recipients of the envelope, Bcc included."""
        return [str(value) for value in self.message.get_all("Delivered-To", [])]

    @property
    def relay(self) -> str:
        """The name of the relay that took it; "" where that is not known."""
        return str(self.message.get("X-Taken-By", ""))

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [(name, str(value)) for name, value in self.message.items()]

    @property
    def text(self) -> str | None:
        return _content(self.message.get_body(("plain",)))

    @property
    def html(self) -> str | None:
        """The HTML, with its inline images as data: URLs."""
        html = _content(self.message.get_body(("html",)))
        return None if html is None else re.sub(r"cid:([^\"'\s)>]+)", self._inline, html)

    @property
    def attachments(self) -> list[EmailMessage]:
        return [part for part in self.message.walk() if part.get_content_disposition() == "attachment"]

    def has(self, sought: str) -> bool:
        """Whether envelope, subject or body contain this text, in upper or lower case."""
        said = (self.subject, self.sender, *self.recipients, self.text or self.html or "")
        return not sought or any(sought.casefold() in one.casefold() for one in said)

    def _inline(self, match: re.Match[str]) -> str:
        for part in self.message.walk():
            if str(part.get("Content-ID", "")).strip("<>") == match[1]:
                data = base64.b64encode(part.get_payload(decode=True) or b"").decode()
                return f"data:{part.get_content_type()};base64,{data}"
        return match[0]


class Mailbox:
    """The folder. File names sort by the time of arrival."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, sender: str, recipients: list[str], content: bytes, relay: str = "") -> str:
        """Stores one message durably, taken by this relay, and returns its name."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}"
        envelope = [f"Return-Path: <{sender}>", *([f"X-Taken-By: {relay}"] if relay else ())]
        envelope += [f"Delivered-To: {recipient}" for recipient in recipients]
        unfinished = self._folder / f".{name}"
        with unfinished.open("wb") as file:
            file.write("".join(f"{line}\r\n" for line in envelope).encode() + content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._path(name))
        return name

    def newest(self, limit: int, sought: str = "") -> Iterator[Arrived]:
        """Returns at most `limit` messages, the newest first; `sought`: those of the SEARCHED newest with this text."""
        names = sorted((path.stem for path in self._folder.glob("*.eml")), reverse=True)
        found = 0
        for name in names[: SEARCHED if sought else limit]:
            arrived = self.get(name)
            if arrived is not None and found < limit and arrived.has(sought):
                found += 1
                yield arrived

    def get(self, name: str) -> Arrived | None:
        """Returns the message of that name, or None."""
        if not _NAME.match(name):
            return None
        try:
            raw = self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        message = _PARSER.parsebytes(raw)
        assert isinstance(message, EmailMessage)
        return Arrived(name, raw, message)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.eml"


def _content(part: EmailMessage | None) -> str | None:
    if part is None:
        return None
    charset = part.get_content_charset("utf-8")
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    try:
        return data.decode(charset, errors="replace")
    except LookupError:
        return data.decode("utf-8", errors="replace")
