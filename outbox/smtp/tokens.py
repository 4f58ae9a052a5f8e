"""Access tokens for log-ins: fetched in a thread of their own, renewed in time, shared by a process's connections.

A token is renewed five minutes before its end, or in the middle of its life where that is later. While it is valid
nobody waits, and that it can't be renewed changes nothing. Known limit: each process fetches its own.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

from outbox.core import clock
from outbox.core.forks import after_fork
from outbox.core.loggers import get_logger
from outbox.settings.token_source import TokenSource
from outbox.smtp.token_answer import Grant, TokenError
from outbox.smtp.token_fetch import fetch

log = get_logger("outbox.transport")

EARLY_SECONDS = 300.0
"""How long before its end a token is renewed, half its life at most."""

YOUNG_SECONDS = 60.0
"""A token that is refused at this age was never good: another one would be refused as well."""

_UNSAID_LIFE = 60.0  # seconds for which a token is used whose end nobody has told
_SLACK = 5.0  # seconds before its end from which on a token is not used, a twentieth of its life at most
_RETRY_SECONDS = 30.0  # between attempts to renew, a tenth of the time that is left for it at most
_SAME_FAILURE = 1.0  # seconds in which a failure answers those who ask next
_STUCK_SECONDS = 60.0  # after which a fetch that does not end is left behind
_SLICE = 0.1  # seconds after which a wait looks whether it was given up

Wait = Callable[[threading.Event, float], bool]
"""As `threading.Event.wait`."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and when it was asked for (monotonic)."""

    value: str = field(repr=False)
    born: float
    life: float | None  # seconds; None: nobody said

    @property
    def early(self) -> float:
        """Seconds before its end from which on it is renewed."""
        return 0.0 if self.life is None else min(EARLY_SECONDS, self.life / 2)

    @property
    def renewed_at(self) -> float:
        """When to renew it (monotonic)."""
        return self.born + (self.life or 0.0) - self.early

    def is_usable(self, now: float) -> bool:
        """Whether a log-in may still use it."""
        if self.life is None:
            return now < self.born + _UNSAID_LIFE
        return now < self.born + self.life - min(_SLACK, self.life / 20)


class Tokens:
    """The tokens of one source. Thread-safe."""

    def __init__(
        self,
        source: TokenSource,
        *,
        fetch: Callable[[TokenSource], Grant] = fetch,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.source = source
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._under_way: _Fetch | None = None
        self._failed: tuple[float, TokenError] | None = None
        self._timers: list[threading.Timer] = []
        weakref.finalize(self, _cancel, self._timers)

    def get(self, limit: float, wait: Wait, *, refused: Token | None = None) -> Token:
        """A token that is not `refused`, within `limit` seconds; what `wait` raises ends it.

        Raises TokenError.
        """
        end = self._monotonic() + limit
        with self._lock:
            token = self._token
            if token is not None and token is not refused and token.is_usable(self._monotonic()):
                return token
            if self._failed is not None and self._monotonic() - self._failed[0] < _SAME_FAILURE:
                raise self._failed[1]
            under_way = self._begin()
        while not wait(under_way.done, max(0.0, min(_SLICE, end - self._monotonic()))):
            if self._monotonic() >= end:
                raise TokenError(f"{self.source.where} did not answer in {limit:.3g} s", refused=False)
        if under_way.error is not None:
            return self._unsaid(refused, under_way.error)
        assert under_way.token is not None  # noqa: S101 - a fetch ends with one of the two
        return under_way.token

    def _unsaid(self, refused: Token | None, error: TokenError) -> Token:
        """The last token, if nobody knows that its life is over; else raises `error`."""
        with self._lock:
            if self._token is not None and self._token.life is None and self._token is not refused:
                return self._token
        raise error

    def _begin(self) -> _Fetch:
        """The fetch under way, or a new one. With the lock."""
        now = self._monotonic()
        if self._under_way is None or now - self._under_way.begun > _STUCK_SECONDS:
            self._under_way = _Fetch(now)
            threading.Thread(target=self._run, args=(self._under_way,), name="outbox-token", daemon=True).start()
        return self._under_way

    def _renew(self) -> None:
        with self._lock:
            self._begin()

    def _run(self, under_way: _Fetch) -> None:
        try:
            grant = self._fetch(self.source)
            under_way.token = Token(grant.token, under_way.begun, grant.life)
        except TokenError as error:
            under_way.error = error
        except Exception as error:  # noqa: BLE001 - an application's function, or a library's; its words may hold secrets
            under_way.error = TokenError(f"{self.source.where} failed: {type(error).__name__}", refused=False)
        with self._lock:
            if self._under_way is under_way:
                self._under_way = None
            self._settle(under_way)
        under_way.done.set()

    def _settle(self, under_way: _Fetch) -> None:
        """Keeps what came, and sets the time at which to renew. With the lock."""
        now = self._monotonic()
        if under_way.token is not None:
            self._token, self._failed = under_way.token, None
            life = "" if under_way.token.life is None else f", valid for {under_way.token.life:.0f} s"
            log.info("a new access token from %s%s", self.source.where, life)
            if under_way.token.life is not None:
                self._later(under_way.token.renewed_at - now)
        elif under_way.error is not None:
            self._failed = now, under_way.error
            if self._token is not None and self._token.life is not None and self._token.is_usable(now):
                left = self._token.born + self._token.life - now
                log.warning(
                    "the access token can't be renewed: %s; the one in use is valid for %.0f s more",
                    under_way.error,
                    left,
                )
                self._later(min(_RETRY_SECONDS, self._token.early / 10))

    def _later(self, seconds: float) -> None:
        itself = weakref.ref(self)

        def due() -> None:
            if (tokens := itself()) is not None:
                tokens._renew()

        for timer in self._timers:
            timer.cancel()
        timer = threading.Timer(max(0.05, seconds), due)
        timer.daemon, timer.name = True, "outbox-token-timer"
        self._timers[:] = [timer]
        with contextlib.suppress(RuntimeError):  # the process ends
            timer.start()


class _Fetch:
    """One fetch, and what came of it."""

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.done = threading.Event()
        self.token: Token | None = None
        self.error: TokenError | None = None


def _cancel(timers: list[threading.Timer]) -> None:
    for timer in timers:
        timer.cancel()


@functools.lru_cache(maxsize=64)
def shared(source: TokenSource) -> Tokens:
    """The process's own for this source."""
    return Tokens(source)


after_fork(shared.cache_clear)  # threads and locks are the parent's
