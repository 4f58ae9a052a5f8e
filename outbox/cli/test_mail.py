"""`outbox-test-mail`: one message through the whole path, each step reported."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import flask_mail
from sqlalchemy import Engine

from outbox import operations
from outbox.cli.command import Command, No
from outbox.cli.common import application, database, extension, in_app, remark, say, settings
from outbox.cli.logs import log_to_stderr
from outbox.cli.options import envelope_of
from outbox.cli.output import print_json
from outbox.core import clock
from outbox.delivery.states import FINAL, State
from outbox.operations import Detail, Finding, duration
from outbox.settings.kinds import TEST_MAIL

LOOK_SECONDS = 0.2


@click.command("outbox-test-mail", cls=Command)
@click.argument("address")
@click.option("--from", "sender", metavar="ADDRESS", help="Instead of MAIL_DEFAULT_SENDER.")
@click.option("--transport", metavar="NAME", help="By this one of OUTBOX_TRANSPORTS, and no other.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86_400),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long it may take.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, the steps on stderr.")
@in_app
def test_mail(address: str, sender: str | None, transport: str | None, timeout: float, as_json: bool) -> None:
    """Send a test message through the outbox.

    It goes to ADDRESS: enqueued, committed, sent by a worker to the relay. Each step is reported, with the relay's
    reply. If no worker is running, this process is one for a single pass, which also sends other mail that is due.
    Exit code 0 only if the relay accepted the message; if not, it shows what outbox-check finds.

    \b
    Examples:
      outbox-test-mail ann@example.org
      outbox-test-mail ann@example.org --transport backup
    """
    recipient = envelope_of(address, "ADDRESS")
    senders = [] if sender is None else [envelope_of(sender, "--from")]
    trial = _Trial(database(), clock.monotonic() + timeout, as_json)
    id, message_id = _enqueue(trial.engine, address, sender, transport)
    trial.say(f"enqueued and committed: delivery {id}, {message_id}")
    worker = _living_worker(trial.engine)
    if worker:
        trial.say(f"waiting up to {duration(timeout)} for worker {worker}")
    else:
        trial.say("no worker is running; sending from this process")
        _send_here(trial.left)
    detail = _awaited(trial, id, wait=worker is not None)
    problem = _problem(detail)
    if problem is None:
        trial.say(f"sent to {detail.recipient} in {duration(detail.age)}")
    checks = _diagnosed(trial, senders, recipient) if problem is not None and detail.reason != "suppressed" else []
    value = {"id": id, "sent": problem is None, "worker": worker, **_facts(detail), "checks": checks}
    if problem is not None:
        raise No(problem, value=value | {"error": problem})
    if as_json:
        print_json(value)


@dataclass(frozen=True, slots=True)
class _Trial:
    """The one test, and when it must be over."""

    engine: Engine
    end: float  # monotonic
    as_json: bool

    @property
    def left(self) -> float:
        """Seconds until time is up."""
        return max(0.0, self.end - clock.monotonic())

    def say(self, words: str) -> None:
        """A step on stdout, which --json keeps for itself."""
        tell = remark if self.as_json else say
        tell(words)


def _enqueue(engine: Engine, address: str, sender: str | None, transport: str | None) -> tuple[int, str]:
    now = clock.utcnow()
    message = flask_mail.Message(
        f"Test message of {now:%Y-%m-%d %H:%M:%S} UTC",
        recipients=[address],
        sender=sender,
        body=f"This message was sent by outbox-test-mail on {socket.gethostname()}, process {os.getpid()}.\n"
        "If you can read it, the outbox, its worker and its relay work.\n",
    )
    with operations.session(engine) as session:
        stored = extension().enqueue(message, session=session, priority="high", kind=TEST_MAIL, transport=transport)
        session.flush()
        pk, message_id = int(stored.id), str(stored.message_id)
    with operations.connected(engine) as connection:
        return operations.recipients(connection, pk)[0].id, message_id


def _living_worker(engine: Engine) -> str | None:
    from outbox.cli.status import look

    configured = settings()
    living = [w for w in look().workers if w.alive and w.environment == configured.environment]
    return f"{living[0].host} pid {living[0].pid}" if living else None


def _send_here(seconds: float) -> None:
    """By one connection: whatever the relay has not answered when time is up is cut off."""
    from outbox.worker import process

    log_to_stderr(as_json=settings().log_json, level=logging.WARNING, aside=False, wrapped=True)
    process.run(application(), once=True, connections=1, seconds=seconds)


def _awaited(trial: _Trial, id: int, *, wait: bool) -> Detail:
    """The mail as it is when it has ended or time is up; each attempt is told when it is seen."""
    told = 0
    pause: Callable[[float], bool] = threading.Event().wait
    while True:
        with operations.connected(trial.engine) as connection:
            detail = operations.show(connection, id)
        if detail is None:
            raise No(f"delivery {id} was purged before it was seen to be sent")
        for attempt in detail.attempt_log[told:]:
            words = " ".join(str(part) for part in (attempt.code, attempt.enhanced, attempt.reply) if part)
            trial.say(f"{attempt.transport or 'relay'}: {attempt.verdict} at {attempt.phase}: {words}")
        told = len(detail.attempt_log)
        if detail.state in FINAL or not wait or not trial.left:
            return detail
        pause(min(LOOK_SECONDS, trial.left))


def _problem(detail: Detail) -> str | None:
    """Why it was not sent, and what becomes of it; None: it was."""
    if detail.state is State.SENT:
        suppressed = detail.reason == "suppressed"
        return "not sent: MAIL_SUPPRESS_SEND is on, the message was only recorded" if suppressed else None
    why = f" ({detail.reason})" if detail.reason else ""
    hint = "; it stays in the outbox and will be retried" if detail.state not in FINAL else ""
    return f"not sent: delivery {detail.id} is {detail.state}{why}{hint}. See: outbox-show {detail.id}"


def _facts(detail: Detail) -> dict[str, Any]:
    return {
        "message_id": detail.message_id_header,
        "recipient": detail.recipient,
        "state": detail.state,
        "reason": detail.reason,
        "attempts": detail.attempt_log,
    }


def _diagnosed(trial: _Trial, senders: list[str], recipient: str) -> list[Finding]:
    """What `outbox-check` finds with these senders and this recipient, in the time that is left."""
    from outbox.cli import diagnosis
    from outbox.cli.check import show

    if trial.left < 1.0:
        trial.say("time is up; outbox-check looks for the cause")
        return []
    found = list(diagnosis.findings(senders, recipient, seconds=min(trial.left, diagnosis.SECONDS)))
    if not trial.as_json:
        trial.say("outbox-check says:")
        show(found)
    return found
