"""A transport that is not SMTP, as one of a worker's connections: what the outbox promises is kept here, around it.

Whatever it does, an attempt ends in a value, in time: what cannot be shown not to have been handed over is unknown.
Known limit: a message is in memory as a whole.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from outbox.core import clock
from outbox.core.loggers import get_logger
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict, printable
from outbox.delivery.retry import believed
from outbox.delivery.verdicts import Failure, judge_failure
from outbox.message.dkim.signer import Signer
from outbox.message.values import Envelope
from outbox.settings.relay import Relay
from outbox.settings.transport import Transport
from outbox.smtp import commands as smtp_commands
from outbox.smtp.added_headers import with_headers
from outbox.smtp.left_behind import Caller, Hangs
from outbox.smtp.repeating import repeated
from outbox.smtp.token_answer import hidden

log = get_logger("outbox.transport")

_LONGEST_ID = 200  # characters, as of a relay's
_CODES = range(100, 600)
_SECRET = re.compile("key|secret|token|password", re.IGNORECASE)
_GIVEN_UP = "given up before the message was handed over: this worker may no longer send it"


class OwnTransport:
    """One transport, made when it is needed. Belongs to one thread; only `abort` may be called from another."""

    def __init__(
        self,
        relay: Relay,
        make: Callable[[], Transport],
        *,
        monotonic: Callable[[], float] = clock.monotonic,
        signer: Signer | None = None,
    ) -> None:
        self.relay = relay
        self._signer = signer
        self._make = make
        self._monotonic = monotonic
        self._transport: Any = None
        self._caller: Caller | None = None  # None: it can be aborted, so it is called in this thread
        self._aborted = threading.Event()
        self._proved = False  # it has answered, and nothing is in doubt

    @property
    def is_connected(self) -> bool:
        """Whether the service has let it in, as far as is known."""
        return self._proved

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def deliver(
        self,
        envelope: Envelope,
        content: bytes | Iterable[bytes],
        *,
        before_dot: Callable[[], bool] | None = None,
        timeout: float | None = None,
        when: Callable[[], None] | None = None,
    ) -> Result:
        """As `Connection.deliver`; `before_dot` is asked before anything of the message is handed over."""
        started = self._monotonic()
        end = started + self.relay.time_for(timeout)
        self._aborted.clear()
        try:
            smtp_commands.check(envelope)
        except smtp_commands.UnfitError as unfit:
            result = _local(Phase.LOCAL, unfit.failure, unfit.text)
        else:
            result = self._deliver(envelope, content, before_dot, when, end)
        return self._told(result, self._monotonic() - started)

    def check(self) -> Result:
        """Asks the transport whether mail could be sent now, without sending any."""
        started = self._monotonic()
        self._aborted.clear()
        end = started + self.relay.send_timeout
        result = self._opened(end)
        if result is None and (check := getattr(self._transport, "check", None)) is not None:
            result = self._asked(lambda: check(end), end, Phase.CONNECT)
        if result is None:
            note = "its transport has no way to check more without sending"
            result = replace(Result.accepted(), note=note)
        return self._told(result, self._monotonic() - started)

    def close(self) -> None:
        """Lets the transport close. Never raises, and waits for nothing."""
        transport, self._transport, self._proved = self._transport, None, False
        caller, self._caller = self._caller, None
        close = getattr(transport, "close", None)
        if caller is not None:
            if close is not None:
                caller.later(close)
            caller.end()
        elif close is not None:
            try:
                close()
            except Exception as error:  # noqa: BLE001 - it is not needed any more
                log.debug("%s: closing raised %s", self.relay.name, type(error).__name__)

    def abort(self) -> None:
        """Ends a `deliver` under way in another thread at once."""
        self._aborted.set()
        if (abort := getattr(self._transport, "abort", None)) is not None:
            try:
                abort()
            except Exception as error:  # noqa: BLE001 - the owner goes by its deadline, then
                log.error("%s: aborting raised %s", self.relay.name, type(error).__name__)

    def _deliver(
        self,
        envelope: Envelope,
        content: bytes | Iterable[bytes],
        before_dot: Callable[[], bool] | None,
        when: Callable[[], None] | None,
        end: float,
    ) -> Result:
        whole = content if isinstance(content, bytes) else b"".join(content)
        envelope, added = with_headers(self.relay, envelope, whole, self._signer)
        whole = added if isinstance(added, bytes) else b"".join(added)
        if (refused := self._opened(end)) is not None:
            return refused
        if when is not None:
            when()
        if before_dot is not None and not before_dot():
            return _local(Phase.BODY, Failure.GIVEN_UP, _GIVEN_UP)
        if self._aborted.is_set():
            return _local(Phase.BODY, Failure.ABORTED, "given up by this worker")
        began, repeats = self._monotonic(), getattr(self._transport, "takes_key_once", False) is True
        result = self._handed_over(envelope, whole)
        if not repeats or result.verdict is not Verdict.UNKNOWN or self._aborted.is_set() or self._monotonic() >= end:
            return result
        if self._opened(end) is not None:
            return result
        second = self._handed_over(envelope, whole)
        return repeated(result, second, self._monotonic() - began)

    def _handed_over(self, envelope: Envelope, whole: bytes) -> Result:
        transport, deadline = self._transport, self._monotonic() + self.relay.dot_timeout
        return self._asked(lambda: transport.deliver(envelope, whole, deadline), deadline, Phase.DOT)

    def _opened(self, end: float) -> Result | None:
        """Makes the transport, and lets it open where it has a way to; None: it is ready."""
        if self._transport is None and (failed := self._made(end)) is not None:
            return failed
        if (opens := getattr(self._transport, "open", None)) is None:
            return None
        result = self._asked(lambda: opens(end), end, Phase.CONNECT, may_be_none=True)
        return None if result.verdict is Verdict.ACCEPTED else result

    def _made(self, end: float) -> Result | None:
        caller = Caller(f"outbox-transport {self.relay.name}")
        try:
            made = caller.call(self._make, end, self._monotonic, self._aborted)
        except Hangs:
            caller.end()
            return _local(Phase.CONNECT, Failure.TIMEOUT, "the transport could not be made in time")
        except Exception as error:  # noqa: BLE001 - an application's code
            caller.end()
            return _local(Phase.CONNECT, Failure.OURS, f"the transport can't be made: {_where(error)}")
        self._transport = made
        if callable(getattr(made, "abort", None)):
            caller.end()
        else:
            self._caller = caller
        return None

    def _asked(self, call: Callable[[], Any], end: float, phase: Phase, *, may_be_none: bool = False) -> Result:
        """What the transport says. In the phase DOT the message may have been handed over."""
        words = "the message was handed over" if phase is Phase.DOT else "opening it"
        try:
            said = call() if self._caller is None else self._caller.call(call, end, self._monotonic, self._aborted)
        except Hangs:
            self.close()  # once it comes back: its thread, and the transport in it, are left behind
            why = "given up by this worker" if self._aborted.is_set() else "the transport did not return in time"
            return _local(phase, Failure.TIMEOUT, f"{why} ({words})")
        except Exception as error:  # noqa: BLE001 - an application's code, whose words may hold secrets
            log.error("%s: the transport raised %s", self.relay.name, _where(error))
            self.close()
            return _local(phase, Failure.OURS, f"the transport raised {type(error).__name__} ({words})")
        if said is None and may_be_none:
            return Result.accepted()
        if not isinstance(said, Result):
            self.close()
            return _local(phase, Failure.OURS, f"the transport returned {type(said).__name__}, not a Result ({words})")
        if said.verdict is Verdict.UNKNOWN and phase is not Phase.DOT:  # nothing was handed over
            said = replace(said, verdict=Verdict.TRANSPORT, phase=phase, about=About.RELAY)
        if said.verdict is Verdict.UNKNOWN:
            self.close()
        else:
            self._proved = said.verdict not in {Verdict.TRANSPORT, Verdict.CONFIGURATION}
        return said

    def _secrets(self) -> list[str]:
        named = [value for name, value in self.relay.options if _SECRET.search(name)]
        return [secret for secret in (self.relay.password or "", *named) if secret]

    def _told(self, result: Result, duration: float) -> Result:
        """`result` as it may be written down: bounded, printable, without secrets."""
        code = result.reply.code if result.reply.code in _CODES else None
        text = hidden(str(result.reply.text), self._secrets(), most=None)
        id = None if result.relay_id is None else printable(str(result.relay_id))[:_LONGEST_ID]
        made = replace(result, reply=Reply(code, result.reply.enhanced, text), relay_id=id or None, duration=duration)
        return replace(made, retry_after=_seconds(result.retry_after), reusable=self._proved)


def _local(phase: Phase, failure: Failure, text: str) -> Result:
    judged = judge_failure(phase, failure)
    return Result(judged.verdict, phase, Reply(None, None, text), 0.0, about=judged.about)


def _seconds(given: Any) -> float | None:
    """A wait that can be one, a day at most."""
    try:
        return believed(float(given))
    except (TypeError, ValueError):
        return None


def _where(error: Exception) -> str:
    """An error's type and place; its words may hold secrets."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = "" if last is None else f" at {last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
    return f"{type(error).__name__}{place}"
