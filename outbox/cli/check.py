"""`outbox-check`: everything that mail needs, looked at without sending any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click

from outbox import operations
from outbox.cli.base import Failure, No, application, console, database, in_app, print_json, safe, settings
from outbox.errors import ConfigurationError, OutboxError
from outbox.operations import duration
from outbox.relay import Security
from outbox.reply import Result, Verdict
from outbox.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `ok` None: not a fault, but to be known."""

    check: str
    ok: bool | None
    words: str


@click.command("outbox-check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def check(as_json: bool) -> None:
    """Check all that mail needs; send nothing.

    Configuration, database, migrations, SMTP log-in: every fault is told at once.

    Exit code 0: mail can go. 1: it can't.

    \b
    Example:
      outbox-check
    """
    try:
        good = _check(as_json)
    except Failure as failure:
        if as_json:
            print_json({"ok": False, "checks": [Finding("application", False, failure.message)]})
        raise No(failure.message)
    raise click.exceptions.Exit(0 if good else 1)


@in_app
def _check(as_json: bool) -> bool:
    found = [*_configuration(), *_database(), *_smtp()]
    good = all(finding.ok is not False for finding in found)
    if as_json:
        print_json({"ok": good, "checks": found})
    else:
        _print(found)
    return good


def _configuration() -> Iterator[Finding]:
    try:
        configured = settings()
    except ConfigurationError as error:
        for fault in error.faults:
            yield Finding("configuration", False, fault)
    except OutboxError as error:
        yield Finding("configuration", False, str(error))
    else:
        yield Finding("configuration", True, f"complete; relay {configured.relay.name}")
        for words in _remarks(configured):
            yield Finding("configuration", None, words)


def _remarks(configured: Settings) -> Iterator[str]:
    if configured.suppress_send:
        yield "MAIL_SUPPRESS_SEND is on (TESTING sets it): workers record mail and send nothing"
    if configured.default_sender is None:
        yield "MAIL_DEFAULT_SENDER is not set: every message must name its sender"
    if configured.security is not Security.NONE and not configured.tls_verify:
        yield "OUTBOX_TLS_VERIFY is off: anybody on the way can read the mail and the password"


def _database() -> Iterator[Finding]:
    try:
        engine = database()
        yield Finding("database", True, f"{operations.server(engine)} at {operations.where(engine)}")
        lacking = operations.missing(engine)
    except OutboxError as error:
        yield Finding("database", False, str(error))
        return
    yield Finding("migrations", not lacking, operations.unmigrated(lacking) if lacking else "all tables are there")


def _smtp() -> Iterator[Finding]:
    from outbox.transport import Connection

    try:
        relay = settings().relay
    except OutboxError:
        return  # told by the configuration's finding
    with Connection(application().extensions["mail"], relay) as connection:
        result = connection.check()
        tls = connection.tls_version
    if result.verdict is Verdict.ACCEPTED:
        log_in = f"logged in as {relay.username}" if relay.username else "no log-in"
        words = f"{relay.name} is ready: {tls or 'plain text'}, {log_in}, in {duration(result.duration)}"
        yield Finding("smtp", True, words)
    else:
        yield Finding("smtp", False, f"{relay.name}: {_refusal(result)}")


def _refusal(result: Result) -> str:
    note = f" ({result.note})" if result.note else ""
    return f"{result.verdict} fault at {result.phase}: {result.reply}{note}"


def _print(found: list[Finding]) -> None:
    from rich.text import Text

    from outbox.cli.tables import print_pairs

    out = console()
    for finding in found:
        mark, style = {True: ("ok", "green"), False: ("FAULT", "bold red"), None: ("note", "yellow")}[finding.ok]
        words = Text.assemble((mark, style), " ", safe(" ".join(finding.words.split())))
        print_pairs(out, [(finding.check.ljust(13), words)])
