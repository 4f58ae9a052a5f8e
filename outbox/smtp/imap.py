"""A mailbox on an IMAP server (RFC 3501), read without changing what is not understood. Over verified TLS.

What was looked at and left gets a keyword, `$OutboxLeft`, where the server keeps keywords: it stays unread for people,
and is not fetched again.
"""

from __future__ import annotations

import contextlib
import imaplib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

from outbox.core import clock
from outbox.core.errors import OutboxError
from outbox.core.loggers import get_logger
from outbox.settings.relay import Relay, Security
from outbox.smtp.tls import verifying
from outbox.smtp.token_answer import TokenError
from outbox.smtp.tokens import YOUNG_SECONDS, Token, shared

log = get_logger("outbox.transport")

_LEFT = "$OutboxLeft"


class MailboxError(OutboxError):
    """The mailbox can't be reached, opened or read."""


class Mailbox:
    """One folder, for the length of a `with` block. Raises MailboxError."""

    def __init__(self, server: Relay, folder: str, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._monotonic = monotonic
        self._server = server
        self._folder = folder
        self._imap: imaplib.IMAP4 | None = None
        self._offers: list[str] = []  # after the log-in, which may bring more
        self.keeps_keywords = False
        self.validity = ""  # ids hold as long as this stays

    def __enter__(self) -> Self:
        try:
            with self._told("can't be opened"):
                self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _begin(self) -> None:
        imap = self._reach()
        self._offers = b" ".join(imap.capability()[1]).decode(errors="replace").upper().split()
        self._ok(imap.select(_quoted(self._folder)))
        self.keeps_keywords = b"\\*" in imap.untagged_responses.get("PERMANENTFLAGS", [b""])[-1]
        self.validity = repr(imap.untagged_responses.get("UIDVALIDITY"))

    def _end(self) -> None:
        if self._imap is not None:
            with contextlib.suppress(Exception):  # what was done is done
                self._imap.logout()

    def unread(self) -> list[str]:
        """The ids of what nobody has read, and what was not left before."""
        with self._told("can't be searched"):
            wanted = ["UNSEEN", "UNDELETED", *(["UNKEYWORD", _LEFT] if self.keeps_keywords else [])]
            found = self._ok(self._open.uid("SEARCH", *wanted))
            return [one.decode() for line in found if line for one in line.split()]

    def fetch(self, id: str, most: int) -> bytes:
        """The mail, `most` bytes of it; it stays unread."""
        with self._told("can't be read"):
            found = self._ok(self._open.uid("FETCH", id, f"(BODY.PEEK[]<0.{most}>)"))
            return next((part[1] for part in found if isinstance(part, tuple)), b"")

    def taken(self, id: str, folder: str | None) -> None:
        """Marks it as seen, and moves it to `folder`, if there is one, which is made where it is missing."""
        with self._told("can't be changed"):
            self._ok(self._open.uid("STORE", id, "+FLAGS.SILENT", "(\\Seen)"))
            if folder is not None:
                self._move(id, _quoted(folder))

    def left(self, id: str) -> None:
        """It was not understood."""
        if self.keeps_keywords:
            with self._told("can't be changed"):
                self._ok(self._open.uid("STORE", id, "+FLAGS.SILENT", f"({_LEFT})"))

    def _move(self, id: str, folder: str) -> None:
        can_move = "MOVE" in self._offers
        status, _ = self._open.uid("MOVE" if can_move else "COPY", id, folder)
        if status != "OK":
            self._open.create(folder)
            self._ok(self._open.uid("MOVE" if can_move else "COPY", id, folder))
        if not can_move:
            self._ok(self._open.uid("STORE", id, "+FLAGS.SILENT", "(\\Deleted)"))
            if "UIDPLUS" in self._offers:  # else it would expunge what others have deleted
                self._ok(self._open.uid("EXPUNGE", id))

    @property
    def _open(self) -> imaplib.IMAP4:
        assert self._imap is not None  # noqa: S101 - within `with`
        return self._imap

    def _connected(self) -> imaplib.IMAP4:
        server = self._server
        if server.security is Security.NONE and not (server.is_local or server.allow_plaintext):
            raise MailboxError(
                f"{server.address}: the log-in would go over plain text. Use imaps:// in OUTBOX_BOUNCE_IMAP_URL."
            )
        if server.security is Security.TLS:
            context = verifying(server)
            return imaplib.IMAP4_SSL(server.host, server.port, ssl_context=context, timeout=server.command_timeout)
        imap = imaplib.IMAP4(server.host, server.port, timeout=server.command_timeout)
        if server.security is Security.STARTTLS:
            imap.starttls(verifying(server))
        return imap

    def _reach(self) -> imaplib.IMAP4:
        """Again over a fresh connection and with a new token, if the old one may have been withdrawn."""
        token = self._token()
        try:
            return self._logged_in(token)
        except imaplib.IMAP4.error:
            if token is None or self._monotonic() - token.born <= YOUNG_SECONDS:
                raise
            log.info("%s: refused an access token; asking for another", self._server.address)
            self._end()
            return self._logged_in(self._token(refused=token))

    def _logged_in(self, token: Token | None) -> imaplib.IMAP4:
        self._imap = imap = self._connected()
        if token is None:
            imap.login(self._server.username or "", self._server.password or "")
        else:
            self._authenticate(imap, token)
        return imap

    def _token(self, refused: Token | None = None) -> Token | None:
        server = self._server
        if server.tokens is None:
            return None
        return shared(server.tokens).get(server.connect_timeout, _wait, refused=refused)

    def _authenticate(self, imap: imaplib.IMAP4, token: Token) -> None:
        words = f"user={self._server.username}\x01auth=Bearer {token.value}\x01\x01".encode()
        asked: list[bytes] = []

        def answer(challenge: bytes) -> bytes:
            asked.append(challenge)
            return words if len(asked) == 1 else b""  # the second is the reason why it is refused

        imap.authenticate("XOAUTH2", answer)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (imaplib.IMAP4.error, OSError, TokenError) as error:
            words = " ".join(str(error).split())[:300] or type(error).__name__
            raise MailboxError(f"the mailbox {self._folder} at {self._server.address} {what}: {words}") from error

    @staticmethod
    def _ok(answer: tuple[str, list[Any]]) -> list[Any]:
        status, found = answer
        if status != "OK":
            raise imaplib.IMAP4.error(
                b" ".join(one for one in found if isinstance(one, bytes)).decode(errors="replace")
            )
        return found


def _wait(event: threading.Event, seconds: float) -> bool:
    return event.wait(seconds)


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
