# ruff: noqa: RUF009 - `setting` is dataclasses.field with a Spec in it
"""The settings of the queue: its database, its workers' times, retries, and how long things are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from outbox.delivery.staging import Allowed
from outbox.delivery.states import OnUncertain
from outbox.settings.html_values import FOLDER, INLINE_CSS, can_inline
from outbox.settings.mail_table import MailTable
from outbox.settings.spec import setting
from outbox.settings.staging_values import ADDRESS, ALLOWED
from outbox.settings.values import FLAG, IN_PROCESS, KINDS, NAMES, POLICY, SECONDS, URL, choice, text, whole

UNCOMMITTED = ("auto", "commit", "warn", "raise")


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)  # made by its last heir
class QueueTable(MailTable):
    """How mail is queued, claimed, retried and kept."""

    database_url: str | None = setting(
        "OUTBOX_DATABASE_URL",
        URL,
        None,
        "Where workers and commands find the outbox. Needed where `init_app` is given no session: `send` then uses a "
        "transaction of its own on it. Where it is the session's own address, workers and commands connect by that "
        "engine's options and listeners, too; where it is another address of the same database (a direct one beside a "
        "pooler), by the URL alone: give options in its query.",
        says="unset: the session's database",
    )
    listen_url: str | None = setting(
        "OUTBOX_LISTEN_URL",
        URL,
        None,
        "Where workers LISTEN, if a pooler such as PgBouncer is between them and the database: the address of "
        "PostgreSQL itself, one connection for each transport. Without it they find new mail by polling there.",
        says="unset: where they claim",
    )
    read_url: str | None = setting(
        "OUTBOX_READ_URL",
        URL,
        None,
        "A replica by which the pages, `outbox-status`, `outbox-list`, `outbox-show` and `outbox-audit` read. What "
        "changes anything goes to the database itself, so a page may show a change as late as the replica has it.",
        says="unset: the database itself",
    )
    database_timeout_seconds: float = setting(
        "OUTBOX_DATABASE_TIMEOUT_SECONDS",
        SECONDS,
        30.0,
        "How long workers, commands and pages wait for one answer from the database; then they close that connection.",
    )
    environment: str = setting(
        "OUTBOX_ENVIRONMENT",
        text(64),
        "",
        "Stamped on each message. A worker of another environment refuses it, so that a production database restored "
        "on a staging machine sends nothing.",
    )
    redirect_to: str | None = setting(
        "OUTBOX_REDIRECT_TO",
        ADDRESS,
        None,
        "For staging: every message goes to this address instead of its recipient; its bytes and its To stay. Set and "
        "blank, it is a fault.",
    )
    allow_recipients: Allowed | None = setting(
        "OUTBOX_ALLOW_RECIPIENTS",
        ALLOWED,
        None,
        "For staging: only these get mail. What is for others waits, shown as paused. A domain does not include its "
        "subdomains. Set and blank, it is a fault.",
        says="unset: everybody",
    )
    in_process: str = setting(
        "OUTBOX_IN_PROCESS",
        IN_PROCESS,
        "",
        "Run a worker inside the web application while a server serves it: `true` in each of its processes, `host` in "
        "one process on each machine. Never in commands, migrations, shells, or under `TESTING`. See "
        "[in the web process](in-process.md).",
        says="`false`",
    )
    connections: int = setting("OUTBOX_CONNECTIONS", whole(1, 1000), 4, "SMTP connections of one worker.")
    poll_seconds: float = setting("OUTBOX_POLL_SECONDS", SECONDS, 0.5, "How often an idle worker looks for due mail.")
    one_cpu: bool = setting(
        "OUTBOX_ONE_CPU",
        FLAG,
        True,
        "Keep the threads of a worker on one processor, chosen again every few seconds: it sends more with less. On "
        "Linux; more processors are used by more workers (`--processes`).",
    )
    wake: bool = setting(
        "OUTBOX_WAKE",
        FLAG,
        True,
        "Let a commit wake the worker at once (PostgreSQL by NOTIFY, SQLite by its data version); polling goes on "
        "in any case.",
    )
    sweep_seconds: float = setting(
        "OUTBOX_SWEEP_SECONDS",
        SECONDS,
        10.0,
        "On Celery: how often beat publishes `outbox.sweep`, which finds due mail that no task came for. See "
        "[Celery](celery.md).",
    )
    lease_seconds: float = setting(
        "OUTBOX_LEASE_SECONDS", SECONDS, 1200.0, "How long a claim holds; then another worker may take the mail."
    )
    send_timeout_seconds: float = setting(
        "OUTBOX_SEND_TIMEOUT_SECONDS",
        SECONDS,
        900.0,
        "Time limit for sending one message, including connecting and the reply to the final dot. RFC 5321 §4.5.3.2.6 "
        "asks for ten minutes for that reply alone: with less, a slow server's mail is sent twice.",
        says="900, or 0.8 of the lease where that is less",
    )
    connect_timeout_seconds: float = setting(
        "OUTBOX_CONNECT_TIMEOUT_SECONDS", SECONDS, 10.0, "Looking up the relay's name and connecting to it."
    )
    command_timeout_seconds: float = setting(
        "OUTBOX_COMMAND_TIMEOUT_SECONDS", SECONDS, 60.0, "Timeout while waiting for the next bytes of a reply."
    )
    heartbeat_seconds: float = setting(
        "OUTBOX_HEARTBEAT_SECONDS", SECONDS, 5.0, "How often a worker writes its heartbeat."
    )
    dead_after_seconds: float = setting(
        "OUTBOX_DEAD_AFTER_SECONDS",
        SECONDS,
        20.0,
        "A worker whose heartbeat is older is considered dead, and others take over its mail.",
        says="4 heartbeats: 20",
    )
    shutdown_seconds: float = setting(
        "OUTBOX_SHUTDOWN_SECONDS", SECONDS, 30.0, "How long a stopping worker may take to finish what it is sending."
    )
    max_age_seconds: float = setting(
        "OUTBOX_MAX_AGE_SECONDS",
        SECONDS,
        5 * 86_400.0,
        "A message without an `expires_at` of its own expires this long after it is due.",
    )
    hook_seconds: float = setting(
        "OUTBOX_HOOK_SECONDS",
        SECONDS,
        5.0,
        "How long the guard and the `before_send` hooks of one message may take, together. It is not sent then, and "
        "they are asked again later.",
    )
    max_attempts: int = setting(
        "OUTBOX_MAX_ATTEMPTS", whole(1, 10_000), 30, "Counted attempts after which a delivery is marked failed."
    )
    retry_first_seconds: float = setting(
        "OUTBOX_RETRY_FIRST_SECONDS", SECONDS, 60.0, "Wait after the first deferred attempt; doubled each time."
    )
    retry_max_seconds: float = setting(
        "OUTBOX_RETRY_MAX_SECONDS", SECONDS, 4 * 3600.0, "The longest wait between attempts."
    )
    max_message_bytes: int = setting(
        "OUTBOX_MAX_MESSAGE_BYTES",
        whole(1024, 2**31 - 1),
        25 * 2**20,
        "The largest wire form of a message; a larger one is refused when it is enqueued.",
    )
    inline_css: str = setting(
        "OUTBOX_INLINE_CSS",
        INLINE_CSS,
        "auto",
        "Write the CSS of `<style>` blocks into the `style=` attributes of HTML mail: `auto` where the extra `html` is "
        "installed, `true` always (it must be installed), `false` never. See [HTML](html.md).",
    )
    images_folder: Path | None = setting(
        "OUTBOX_IMAGES_FOLDER",
        FOLDER,
        None,
        "Where `inline_image()` in templates finds images; a relative one is looked for in the application's own "
        "folder. See [HTML](html.md).",
        says="unset: the application's static folder",
    )
    retention_seconds: float = setting(
        "OUTBOX_RETENTION_SECONDS", SECONDS, 30 * 86_400.0, "Mail that was sent or cancelled is purged after this."
    )
    audit_retention_seconds: float = setting(
        "OUTBOX_AUDIT_RETENTION_SECONDS",
        SECONDS,
        365 * 86_400.0,
        "Entries of the audit (who changed or read what) are removed after this. Environments that share a database "
        "share the audit: the shortest time of their workers counts.",
    )
    sensitive_kinds: tuple[str, ...] = setting(
        "OUTBOX_SENSITIVE_KINDS",
        NAMES,
        (),
        "Kinds whose mail holds secrets (`password-reset`): its content is removed from the database about half a "
        "minute after it was sent. Kinds that the code defines with `sensitive=True` need not be named.",
    )
    kinds_strict: bool = setting(
        "OUTBOX_KINDS_STRICT",
        FLAG,
        False,
        "Messages of a kind that the code has not defined (`mail.kind`) are refused when they are enqueued; messages "
        "without a kind are not.",
    )
    uncommitted: str = setting(
        "OUTBOX_UNCOMMITTED",
        choice(*UNCOMMITTED),
        "auto",
        "What happens at the end of a request that succeeded, or of an application context outside of a request (a "
        "thread, task, job or command), with mail that nobody committed: `auto` commits it if its transaction wrote "
        "nothing but mail, else does as `warn`, under `TESTING` and `DEBUG` as `raise`; `commit` commits whatever is "
        "there; `warn` logs a warning; `raise` raises UncommittedMailError.",
    )
    on_uncertain: OnUncertain = setting(
        "OUTBOX_ON_UNCERTAIN",
        POLICY,
        OnUncertain.RETRY,
        "What to do if nobody can know whether the server took a message: `retry` sends it again, `hold` leaves the "
        "decision to a person.",
    )
    on_uncertain_kinds: tuple[tuple[str, OnUncertain], ...] = setting(
        "OUTBOX_ON_UNCERTAIN_KINDS", KINDS, (), "The same by kind of message."
    )

    @property
    def inlines_css(self) -> bool:
        """Whether the CSS of HTML mail is inlined here."""
        return self.inline_css == "true" or (self.inline_css == "auto" and can_inline())
