# ruff: noqa: RUF009 - `setting` is dataclasses.field with a Spec in it
"""The settings of one relay beside Flask-Mail's own, and the value that is made of all of them.

Another relay would have the same settings under names of its own, and be another value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from outbox.delivery.presets import GENERIC, PROVIDERS, Preset, preset_of
from outbox.delivery.rate_limits import RateLimits
from outbox.delivery.rate_limits import parse as rate_limits
from outbox.delivery.reply_rule import Rule
from outbox.settings.dkim_table import DkimTable
from outbox.settings.host_values import EHLO_NAME
from outbox.settings.mail_table import MESSAGES_PER_CONNECTION
from outbox.settings.moments import MOMENT
from outbox.settings.rate_values import PER_DAY, RATE
from outbox.settings.relay import Relay, Security
from outbox.settings.rule_values import REPLY_RULES
from outbox.settings.spec import setting
from outbox.settings.token_source import TokenFunction, TokenSource
from outbox.settings.token_values import COMMAND, FUNCTION, PATH, WEB_URL
from outbox.settings.values import FLAG, SECONDS_OR_NONE, SECRET, choice, text, whole

_DOT_TIMEOUT = 600.0  # seconds, RFC 5321 §4.5.3.2.6
_BEFORE_DOT = 300.0  # seconds kept for connecting and for writing the message, 25 MiB on a slow line

RECIPIENTS_PER_TRANSACTION = 50  # as Postfix

TOKEN_MECHANISMS = ("XOAUTH2", "OAUTHBEARER")
PRESETS = ("auto", GENERIC.name, *(preset.name for preset in PROVIDERS))
PASSWORD_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
MECHANISMS = (*PASSWORD_MECHANISMS, *TOKEN_MECHANISMS)


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)  # made by its last heir
class RelayTable(DkimTable):
    """How to reach the relay, and what it is like."""

    auth: str | None = setting(
        "OUTBOX_AUTH",
        choice(*MECHANISMS),
        None,
        "The SASL mechanism to insist on.",
        says="unset: the best that both sides know",
    )
    token_url: str | None = setting(
        "OUTBOX_TOKEN_URL",
        WEB_URL,
        None,
        "The token endpoint (OAuth 2) from which workers get access tokens for the log-in, in place of "
        "`MAIL_PASSWORD`. They are renewed in time, once per process. [Step by step](oauth.md).",
    )
    client_id: str | None = setting("OUTBOX_CLIENT_ID", text(), None, "The client at `OUTBOX_TOKEN_URL`.")
    client_secret: str | None = setting(
        "OUTBOX_CLIENT_SECRET", SECRET, None, "Its secret. Without a refresh token: client credentials."
    )
    token_certificate_file: Path | None = setting(
        "OUTBOX_TOKEN_CERTIFICATE_FILE",
        PATH,
        None,
        "In place of the secret, at Microsoft: a private key and its certificate, PEM. Needs the extra `microsoft`.",
    )
    refresh_token: str | None = setting(
        "OUTBOX_REFRESH_TOKEN", SECRET, None, "The refresh token, where a person has consented once."
    )
    refresh_token_file: Path | None = setting(
        "OUTBOX_REFRESH_TOKEN_FILE",
        PATH,
        None,
        "Where workers keep the refresh token that follows, if the provider replaces it; `OUTBOX_REFRESH_TOKEN` is "
        "then the first one. In a folder that they may write.",
        says="unset: it stays the same",
    )
    token_scope: str | None = setting(
        "OUTBOX_TOKEN_SCOPE", text(1000), None, "The scope to ask for.", says="unset: what Microsoft and Google want"
    )
    token_service_account_file: Path | None = setting(
        "OUTBOX_TOKEN_SERVICE_ACCOUNT_FILE",
        PATH,
        None,
        "The JSON key of a service account at Google that may act for `MAIL_USERNAME` (domain-wide delegation). Needs "
        "the extra `google`.",
    )
    token_command: str | None = setting(
        "OUTBOX_TOKEN_COMMAND",
        COMMAND,
        None,
        "A command (no shell) that prints an access token, or JSON with `access_token` and `expires_in`.",
    )
    token: TokenFunction | None = setting(
        "OUTBOX_TOKEN",
        FUNCTION,
        None,
        "A function that returns an access token, or the pair (token, seconds that it lives); the same as "
        "`init_app(token=…)`.",
    )
    local_hostname: str | None = setting(
        "OUTBOX_LOCAL_HOSTNAME", EHLO_NAME, None, "The name for EHLO.", says="unset: an address literal"
    )
    pipelining: bool = setting(
        "OUTBOX_PIPELINING",
        FLAG,
        True,
        "The commands of a message go out in one packet where the relay offers PIPELINING (RFC 2920). False: one at a "
        "time, for a firewall in between that swallows all but the first.",
    )
    recipients_per_transaction: int = setting(
        "OUTBOX_RECIPIENTS_PER_TRANSACTION",
        whole(1, 1000),
        RECIPIENTS_PER_TRANSACTION,
        "The most recipients of one message that share an SMTP transaction, so that it is transferred once. 1: each "
        "recipient gets one of its own. A relay's own limit lowers it.",
    )
    preset: str = setting(
        "OUTBOX_PRESET",
        choice(*PRESETS),
        "auto",
        "The provider or kind of server: its replies, limits and headers, and, with `MAIL_SERVER` unset, its host, "
        "port and TLS. `auto` decides by the host name. [What each knows](presets.md).",
    )

    reply_rules: tuple[Rule, ...] = setting(
        "OUTBOX_REPLY_RULES",
        REPLY_RULES,
        (),
        "What replies of the relay mean that the outbox does not know: see [Teach a reply](replies.md#teach-a-reply).",
    )
    soft_bounce_until: datetime | None = setting(
        "OUTBOX_SOFT_BOUNCE_UNTIL",
        MOMENT,
        None,
        "Until then a relay's 5xx replies count as temporary, and suppress no address: for the first day with a new "
        "relay. See [soft bounce](retries.md#the-first-day-with-a-new-relay).",
        says="unset: 5xx replies are final",
    )
    bounce_sender: str = setting(
        "OUTBOX_BOUNCE_SENDER",
        choice("auto", "message", "delivery", "never"),
        "auto",
        "What the signed envelope sender names where `OUTBOX_BOUNCE_DOMAIN` is set. `message`: the recipient is in "
        "the report then. `delivery`: each recipient gets a transaction of its own, so that a report need not name it. "
        "`never`: the sender stays, for a relay that takes only its own. `auto`: `message` where the preset knows that "
        "the relay takes any. See [bounces](bounces.md).",
    )
    rate: RateLimits | None = setting(
        "OUTBOX_RATE",
        RATE,
        None,
        "At most so many messages in a second, minute or hour, of all workers together: see [rates](rates.md).",
        says="the preset's",
    )
    per_day: int | None = setting(
        "OUTBOX_PER_DAY",
        PER_DAY,
        None,
        "At most so many in any 24 hours, of all workers together.",
        says="the preset's",
    )
    rate_unit: str | None = setting(
        "OUTBOX_RATE_UNIT",
        choice("messages", "recipients"),
        None,
        "What `OUTBOX_RATE` and `OUTBOX_PER_DAY` count.",
        says="the preset's, else messages",
    )
    total_connections: int | None = setting(
        "OUTBOX_TOTAL_CONNECTIONS",
        whole(0, 10_000),
        None,
        "Connections at once of all workers on all hosts together: see [rates](rates.md#limit-the-connections). 0: no "
        "limit.",
        says="the preset's",
    )
    ramp: float = setting(
        "OUTBOX_RAMP",
        SECONDS_OR_NONE,
        2.0,
        "After an outage, a pause or a large requeue a worker begins with one connection; after so many seconds two "
        "work, then four, until all do. 0: all at once. See [rates](rates.md#after-an-outage-or-a-pause).",
    )

    @property
    def rate_limits(self) -> RateLimits:
        """What is set, and what is left open by the preset."""
        known = preset_of(self.preset, self.server)
        own = self.rate or RateLimits()
        if self.per_day:
            own = replace(own, day=self.per_day)
        usual = rate_limits(known.rate) if known.rate is not None and self.rate is None else RateLimits()
        return own.filled_up(replace(usual, day=known.per_day if self.per_day is None else None))

    @property
    def send_timeout(self) -> float:
        """`send_timeout_seconds`: wall clock for sending one message, all in."""
        return self.send_timeout_seconds

    @property
    def security(self) -> Security:
        """How the connection to the relay is protected."""
        if self.use_ssl:
            return Security.TLS
        return Security.STARTTLS if self.use_tls else Security.NONE

    @property
    def token_source(self) -> TokenSource | None:
        """Where access tokens come from; None: the log-in is by password, or there is none."""
        asked = (
            self.token_url,
            self.client_id,
            self.client_secret,
            self.token_certificate_file,
            self.refresh_token,
            self.refresh_token_file,
            self.token_scope,
            self.token_service_account_file,
            self.token_command,
            self.token,
        )
        if all(value is None for value in asked):
            return None
        return TokenSource(
            self.username or "",
            url=self.token_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            certificate_file=self.token_certificate_file,
            refresh_token=self.refresh_token,
            refresh_token_file=self.refresh_token_file,
            scope=self.token_scope,
            service_account_file=self.token_service_account_file,
            command=self.token_command,
            function=self.token,
            ca_file=self.tls_ca_file,
            allow_plaintext=self.allow_plaintext,
        )

    @property
    def relay(self) -> Relay:
        """Where mail is handed over. Its two times for one message come to `send_timeout` together."""
        known = preset_of(self.preset, self.server)
        dot_timeout = min(_DOT_TIMEOUT, max(self.send_timeout - _BEFORE_DOT, self.send_timeout / 2))
        return Relay(
            host=self.server,
            port=self.port,
            security=self.security,
            username=self.username,
            password=self.password,
            auth=self.auth,
            tokens=self.token_source,
            ca_file=self.tls_ca_file,
            verify=self.tls_verify,
            tls_name=self.tls_name,
            fingerprints=self.tls_fingerprints,
            tls_certificate_file=self.tls_certificate_file,
            tls_key_file=self.tls_key_file,
            tls_min_version=self.tls_min_version,
            tls_ciphers=self.tls_ciphers,
            protocol=self.protocol,
            socket=self.socket,
            source_address=self.source_address,
            ehlo_ignored=self.ehlo_ignored,
            allow_plaintext=self.allow_plaintext,
            local_hostname=self.local_hostname,
            connect_timeout=self.connect_timeout_seconds,
            command_timeout=self.command_timeout_seconds,
            send_timeout=self.send_timeout - dot_timeout,
            dot_timeout=dot_timeout,
            max_messages=self.max_emails or MESSAGES_PER_CONNECTION,
            max_recipients=1 if self.bounce_sender == "delivery" else self.recipients_per_transaction,
            pipelining=self.pipelining,
            headers=known.headers,
            idempotency_header=known.idempotency_header,
            preset=self.preset,
            rules=self.reply_rules,
            soft_bounce_until=self.soft_bounce_until,
            limits=self.rate_limits,
            rate_unit=self.rate_unit or known.unit,
            ramp=self.ramp,
            total_connections=(known.connections if self.total_connections is None else self.total_connections) or None,
            dkim=self.dkim,
            bounce_sender=self._bounce_sender(known),
        )

    def _bounce_sender(self, known: Preset) -> str:
        if self.bounce_sender != "auto":
            return self.bounce_sender
        return "message" if known.any_sender and self.protocol in {"smtp", "lmtp"} else "never"
