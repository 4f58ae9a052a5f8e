"""What `outbox-check` looks at: configuration, database, relay. Each look takes ten seconds at most."""

from __future__ import annotations

import dataclasses
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from outbox import operations
from outbox.cli import dotenv, route_hints, slowed, subscription_hints, webhook_hints
from outbox.cli.common import application, database, extension, replica, settings
from outbox.core.errors import ConfigurationError, MessageError, OutboxError
from outbox.delivery.hints import hint_for
from outbox.delivery.reply import Phase, Result, Verdict
from outbox.extension.state import bound_to
from outbox.message.addresses import mailbox_of
from outbox.operations import Finding
from outbox.settings import Settings, remarks, unread_words
from outbox.settings.relay import Relay, Security
from outbox.settings.relay_table import PASSWORD_MECHANISMS
from outbox.settings.token_source import TokenSource
from outbox.settings.transport_options import in_its_words
from outbox.settings.values import is_unset
from outbox.store.engines import worker_engine

if TYPE_CHECKING:
    from outbox.smtp.connection import Connection

SECONDS = 10.0
"""Longer than this no diagnosis may take."""

WOULD_DROP = (
    "the next `flask db migrate` drops the outbox's tables, unless env.py tells Alembic to leave them alone; the "
    "newest migration may do so already"
)
SPARE = (
    "Migrate(app, db, include_name=outbox.schema.include_name) does that, see docs/migrations.md. Before you "
    "run the newest migration, delete from it what names outbox_…: each drop_table('outbox_…'), the lines about its "
    "indexes, and in downgrade() what would create it."
)

_SILENCE = 8.0  # seconds for one reply of the relay
_CONNECTING = 5.0
_SENDER = re.compile(r"(^|_)E?MAIL_SENDER$")  # an application's own: FLASKY_MAIL_SENDER, SECURITY_EMAIL_SENDER


def findings(
    senders: Iterable[str] = (), recipient: str | None = None, *, seconds: float = SECONDS
) -> Iterator[Finding]:
    """Everything that mail needs. `senders`: addresses to try besides the configured ones.

    `seconds`: the longest that one look may take, SECONDS at most.
    """
    yield from _configuration()
    yield from _database(seconds)
    yield from _relays(senders, recipient, seconds)
    yield from slowed.findings()


def _configuration() -> Iterator[Finding]:
    try:
        configured = settings()
    except ConfigurationError as error:
        for fault in error.faults:
            yield Finding("configuration", False, fault)
    except OutboxError as error:
        yield Finding("configuration", False, str(error))
    else:
        yield Finding("configuration", True, f"complete; {_named(configured.transports)}")
        config = application().config
        for words in (*_remarks(configured), *remarks(config), *dotenv.replaced(config), *_unread(config)):
            yield Finding("configuration", None, words)
        yield from webhook_hints.findings(configured, application())
        yield from subscription_hints.findings(configured, application())
        yield from route_hints.findings(configured, application())
        yield from _autogenerate()


def _named(relays: Sequence[Relay]) -> str:
    words = "relay" if len(relays) == 1 else "relays"
    return f"{words} {', '.join(one.shown for one in relays)}"


def _remarks(configured: Settings) -> Iterator[str]:
    if configured.suppress_send:
        yield "MAIL_SUPPRESS_SEND is on (TESTING sets it): workers record mail and send nothing"
    if configured.redirect_to is not None:
        yield f"OUTBOX_REDIRECT_TO is set: all mail goes to {configured.redirect_to} instead of its recipients"
    elif configured.allow_recipients is not None:
        yield f"OUTBOX_ALLOW_RECIPIENTS is set: mail for others than {configured.allow_recipients} waits"
    if configured.keyring is not None and configured.address_key is None:
        yield (
            "OUTBOX_ADDRESS_KEY is not set: a dump tells whether a certain address is in it. Set it to "
            "a random text before there are suppressions"
        )
    if configured.default_sender is None:
        yield "MAIL_DEFAULT_SENDER is not set: every message must name its sender"
    if configured.security is not Security.NONE and not configured.tls_verify:
        yield "OUTBOX_TLS_VERIFY is off: anybody on the way can read the mail and the password"
    for relay in configured.transports:
        if relay.dkim is not None:
            yield from (f"{relay.name}: {words}" for words in relay.dkim.remarks(relay.preset))


def _unread(config: Mapping[str, Any]) -> Iterator[str]:
    """Settings of the environment that nobody has put into the configuration."""
    unread = [name for name in Settings.from_env(os.environ) if is_unset(config.get(name))]
    if unread:
        yield unread_words(sorted(unread)[:3])


def is_spared() -> bool | None:
    """Whether Flask-Migrate was told to leave the outbox's tables alone; None where the application has none."""
    migrate = application().extensions.get("migrate")
    options = getattr(migrate, "configure_args", None)
    return bool(options.keys() & {"include_name", "include_object"}) if isinstance(options, Mapping) else None


def _autogenerate() -> Iterator[Finding]:
    if is_spared() is False:
        yield Finding("migrations", None, WOULD_DROP, SPARE)


def _database(seconds: float) -> Iterator[Finding]:
    try:
        engine, session, configured = database(), extension().application_database(application()), settings()
    except OutboxError as error:
        yield Finding("database", False, str(error))
        return
    yield from operations.diagnose(
        engine,
        session=session,
        max_message_bytes=configured.max_message_bytes,
        wake=configured.wake,
        listen=None if configured.listen_url is None else worker_engine(configured.listen_url, timeout=seconds or 10.0),
        read=None if configured.read_url is None else replica(),
        flask_migrate="migrate" in application().extensions,
        routes=configured.routes if configured.transport_names else None,
        seconds=seconds,
    )
    yield from operations.several_databases(session, bound_to(application()).sessions.elsewhere())


def _relays(senders: Iterable[str], recipient: str | None, seconds: float) -> Iterator[Finding]:
    """Each transport, the preferred one first."""
    try:
        relays = settings().transports
    except OutboxError:
        return  # reported as a finding about the configuration
    for relay in relays:
        yield from _relay(_impatient(relay, seconds), senders, recipient, seconds)


def _relay(relay: Relay, senders: Iterable[str], recipient: str | None, seconds: float) -> Iterator[Finding]:
    from outbox.smtp.connection import Connection

    if not relay.speaks_smtp:
        yield _without_smtp(relay)
        return
    if relay.tokens is not None:
        token = _token(relay, relay.tokens, seconds)
        yield token
        if not token.ok:
            return
    with Connection(bound_to(application()), relay) as connection:
        opened = connection.check()
        if opened.verdict is not Verdict.ACCEPTED:
            yield _refused("smtp", opened, relay, _other_mechanism(opened, relay))
            return
        log_in = f"logged in as {relay.username}" if relay.username else "no log-in"
        tls = connection.tls_version or "plain text"
        rate = f", at most {relay.limits}" if relay.limits else ""
        yield Finding("smtp", True, f"{relay.shown} is reached: {tls}, {log_in}, in {opened.duration:.2f} s{rate}")
        yield from _tried(connection, relay, [*configured_senders(), *senders], recipient)


def _without_smtp(relay: Relay) -> Finding:
    """Whether a transport of another protocol could send, as far as it can tell without sending."""
    from outbox.smtp.opening import connection_to

    with connection_to(bound_to(application()), relay) as connection:
        result = connection.check()
    if result.verdict is not Verdict.ACCEPTED:
        return _refused("transport", result, relay)
    note = f": {result.note}" if result.note else ""
    return Finding("transport", True, f"{relay.shown} is reached in {result.duration:.2f} s{note}")


def _token(relay: Relay, source: TokenSource, seconds: float) -> Finding:
    """Whether there is an access token for the log-in."""
    from outbox.smtp.token_answer import TokenError
    from outbox.smtp.tokens import shared

    try:
        token = shared(source).get(seconds, threading.Event.wait)
    except TokenError as error:
        words = f"no access token: {error.text}"
        return Finding("token", False, words, in_its_words(hint_for(Phase.AUTH, None, words) or "", relay.label))
    life = "" if token.life is None else f", valid for {token.life:.0f} s"
    return Finding("token", True, f"an access token from {source.where}{life}")


def _tried(connection: Connection, relay: Relay, senders: list[str], recipient: str | None) -> Iterator[Finding]:
    passed = True
    for sender in dict.fromkeys(senders):
        result = connection.probe(sender, recipient)
        if result.phase is Phase.RCPT or result.verdict is Verdict.ACCEPTED:
            yield Finding("sender", True, f"{relay.name} is ready for mail from {sender}")
        else:
            yield _refused("sender", result, relay, subject=sender)
            passed = False
        if result.phase is Phase.RCPT and result.verdict is Verdict.ACCEPTED:
            yield Finding("recipient", True, f"{relay.name} takes mail from {sender} to {recipient}")
        elif result.phase is Phase.RCPT:
            yield _refused("recipient", result, relay, subject=f"{recipient} (mail from {sender})")
    if not senders:
        result = connection.probe("")
        if result.verdict in {Verdict.TRANSPORT, Verdict.CONFIGURATION}:
            yield _refused("sender", result, relay, subject="MAIL")
            passed = False
        else:
            yield Finding("sender", None, "no sender was tried: set MAIL_DEFAULT_SENDER, or give --from ADDRESS")
    if recipient is None and passed:
        words = "no recipient was tried, and many relays refuse senders only then"
        yield Finding("recipient", None, words, "Give --to ADDRESS to try one; nothing is sent to it.")


def configured_senders() -> Iterator[str]:
    """The addresses of the senders that the configuration names."""
    config = application().config
    named = [settings().default_sender, *(value for name, value in config.items() if _SENDER.search(name))]
    for value in named:
        try:
            if value:
                yield mailbox_of(value, "sender").envelope
        except MessageError:
            pass  # an application's own; the outbox's is checked when the application starts


def _impatient(relay: Relay, seconds: float) -> Relay:
    return dataclasses.replace(
        relay,
        connect_timeout=min(relay.connect_timeout, _CONNECTING, seconds),
        command_timeout=min(relay.command_timeout, _SILENCE, seconds),
        send_timeout=min(relay.send_timeout, seconds),
    )


def _other_mechanism(refused: Result, relay: Relay) -> str:
    """The remedy where the log-in works in another way than the one that was refused; "" where it does not."""
    from outbox.smtp.connection import Connection

    said_no = refused.phase is Phase.AUTH and refused.reply.code is not None and refused.reply.code >= 500
    if not said_no or relay.auth is not None or relay.tokens is not None:
        return ""
    for mechanism in PASSWORD_MECHANISMS:
        limit = SECONDS - refused.duration
        patient = dataclasses.replace(relay, auth=mechanism, send_timeout=max(limit / len(PASSWORD_MECHANISMS), 0.1))
        with Connection(bound_to(application()), patient) as connection:
            if connection.check().verdict is Verdict.ACCEPTED:
                return f"The log-in by {mechanism} works: set OUTBOX_AUTH={mechanism}."
    return ""


def _refused(check: str, result: Result, relay: Relay, remedy: str = "", *, subject: str = "") -> Finding:
    note = f" ({result.note})" if result.note else ""
    reply = result.reply
    said = " ".join(part for part in (reply.enhanced, reply.text) if part)
    hint = (
        remedy
        or hint_for(result.phase, reply.code, said, port=relay.port, tls_first=relay.security is Security.TLS)
        or ""
    )
    about = f"{subject}: " if subject else ""
    words = f"{relay.name}: {about}{result.verdict} fault at {result.phase}: {reply}{note}"
    return Finding(check, False, words, in_its_words(hint, relay.label))
