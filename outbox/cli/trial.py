"""`outbox-test-mail`: one mail through the whole path, each step told."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import click
import flask_mail

from outbox import clock, operations
from outbox.cli.base import application, database, extension, in_app, settings
from outbox.cli.command import Command, No
from outbox.cli.logs import log_to_stderr
from outbox.cli.output import safe
from outbox.mime.addresses import parse
from outbox.operations import Detail, duration
from outbox.states import FINAL, State

LOOK_SECONDS = 0.2


@click.command("outbox-test-mail", cls=Command)
@click.argument("address")
@click.option("--from", "sender", metavar="ADDRESS", help="Instead of MAIL_DEFAULT_SENDER.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86_400),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for it to be sent.",
)
@in_app
def test_mail(address: str, sender: str | None, timeout: float) -> None:
    """Send one mail by the whole path.

    It goes to ADDRESS: enqueued, committed, sent by a worker to the relay; each step is told. Where no worker
    lives, this process is one for a single pass, which also sends other mail that is due. Exit code 0 only if the
    relay took the mail; else it shows what outbox-check finds.

    \b
    Example:
      outbox-test-mail ann@example.org
    """
    engine = database()
    id, message_id = _enqueue(engine, address, sender)
    _say(f"enqueued and committed: mail {id}, {message_id}")
    worker = _living_worker(engine)
    if worker:
        _say(f"waiting up to {duration(timeout)} for worker {worker}")
    else:
        _say("no worker lives; sending from this process")
        _send_here()
    _tell_end(_awaited(engine, id, timeout if worker else 0.0), sender)


def _enqueue(engine: Any, address: str, sender: str | None) -> tuple[int, str]:
    now = clock.utcnow()
    message = flask_mail.Message(
        f"Test mail of {now:%Y-%m-%d %H:%M:%S} UTC",
        recipients=[address],
        sender=sender,
        body=f"This mail was sent by outbox-test-mail on {socket.gethostname()}, process {os.getpid()}.\n"
        "That you read it shows that the outbox, its worker and its relay work.\n",
    )
    with operations.session(engine) as session:
        stored = extension().enqueue(message, session=session, priority="high", kind="test-mail")
        session.flush()
        pk, message_id = int(stored.id), str(stored.message_id)
    with operations.connected(engine) as connection:
        return operations.recipients(connection, pk)[0].id, message_id


def _living_worker(engine: Any) -> str | None:
    from outbox.cli.status import look

    configured = settings()
    living = [w for w in look().workers if w.alive and w.environment == configured.environment]
    return f"{living[0].host} pid {living[0].pid}" if living else None


def _send_here() -> None:
    from outbox import daemon

    log_to_stderr(as_json=settings().log_json, level=logging.WARNING, aside=False)
    daemon.run(application(), once=True)


def _awaited(engine: Any, id: int, timeout: float) -> Detail:
    """The mail as it is when it has ended or time is up; each try is told when it is seen."""
    deadline = clock.monotonic() + timeout
    told = 0
    pause: Callable[[float], bool] = threading.Event().wait
    while True:
        with operations.connected(engine) as connection:
            detail = operations.show(connection, id)
        if detail is None:
            raise No(f"mail {id} was purged before it was seen to be sent")
        for attempt in detail.tries[told:]:
            words = " ".join(str(part) for part in (attempt.code, attempt.enhanced, attempt.reply) if part)
            _say(f"{attempt.transport or 'relay'}: {attempt.verdict} at {attempt.phase}: {words}")
        told = len(detail.tries)
        if detail.state in FINAL or clock.monotonic() >= deadline:
            return detail
        pause(LOOK_SECONDS)


def _tell_end(detail: Detail, sender: str | None) -> None:
    if detail.state is State.SENT and detail.reason == "suppressed":
        raise No("not sent: MAIL_SUPPRESS_SEND is on, the mail was only recorded")
    if detail.state is State.SENT:
        _say(f"sent to {detail.recipient} in {duration(detail.age)}")
        return
    why = f" ({detail.reason})" if detail.reason else ""
    hint = "; it stays in the outbox and is tried again" if detail.state not in FINAL else ""
    _diagnose(detail, sender)
    raise No(f"not sent: mail {detail.id} is {detail.state}{why}{hint}. See: outbox-show {detail.id}")


def _diagnose(detail: Detail, sender: str | None) -> None:
    """What `outbox-check` finds, with this sender and recipient."""
    from outbox.cli import diagnosis
    from outbox.cli.check import show

    _say("outbox-check says:")
    show(diagnosis.findings([] if sender is None else [parse(sender, "--from").envelope], detail.recipient))


def _say(words: str) -> None:
    click.echo(safe(words))
