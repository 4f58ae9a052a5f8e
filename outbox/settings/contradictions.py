"""Settings that contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import fields, replace

from outbox.delivery.presets import preset_of
from outbox.settings.dkim_table import dkim_faults
from outbox.settings.html_values import MISSING, can_inline
from outbox.settings.rate_values import never_reached
from outbox.settings.relay import Security
from outbox.settings.relay_table import TOKEN_MECHANISMS
from outbox.settings.spec import Spec
from outbox.settings.table import Table
from outbox.settings.token_source import is_there


def contradictions(table: Table, given: Set[str], broken: Set[str]) -> Iterator[str]:
    """A fault for each pair of settings that cannot both hold.

    `given`: the fields that were set; `broken`: those whose value is faulty, about which nothing more is said.
    """
    if table.token_source is not None and not broken & _TOKENS:
        yield from table.token_source.faults()
    if not broken & {"dkim_domain", "dkim_keys"}:
        yield from dkim_faults(table)
    for involved, check in _CONTRADICTIONS:
        fault = None if broken & involved else check(table, given)
        if fault is not None:
            yield fault


Check = Callable[[Table, Set[str]], str | None]

_TOKENS = frozenset(
    {
        "token_url",
        "client_id",
        "client_secret",
        "token_certificate_file",
        "refresh_token",
        "refresh_token_file",
        "token_service_account_file",
        "token_command",
        "token",
    }
)


def _mailto_alone(table: Table, given: Set[str]) -> str | None:
    if table.unsubscribe_mailto is not None and table.unsubscribe_url is None:
        return (
            "OUTBOX_UNSUBSCRIBE_MAILTO is set without OUTBOX_UNSUBSCRIBE_URL, and has no effect. Set both: mail "
            "programs ask for the link (RFC 8058)."
        )
    return None


def _both_kinds_of_tls(table: Table, given: Set[str]) -> str | None:
    if table.use_tls and table.use_ssl:
        return (
            "MAIL_USE_TLS and MAIL_USE_SSL are both true. Set MAIL_USE_TLS for STARTTLS (port 587), MAIL_USE_SSL for "
            "TLS from the first byte (port 465)."
        )
    return None


def _sink_is_not_allowed(table: Table, given: Set[str]) -> str | None:
    sink, allowed = table.redirect_to, table.allow_recipients
    if sink is not None and allowed is not None and sink not in allowed:
        return (
            f"OUTBOX_REDIRECT_TO, {sink}, is not among OUTBOX_ALLOW_RECIPIENTS. Add it there, or set one of the two: "
            "where all mail is redirected, nothing goes to other recipients."
        )
    return None


def _half_a_log_in(table: Table, given: Set[str]) -> str | None:
    if table.username is not None and table.password is None and table.token_source is None:
        if table.auth in TOKEN_MECHANISMS:
            return (
                f"OUTBOX_AUTH={table.auth} logs in by access token, and nothing gives one. Set OUTBOX_TOKEN_URL, "
                "OUTBOX_CLIENT_ID and OUTBOX_CLIENT_SECRET, or another source of tokens (docs/oauth.md)."
            )
        return "MAIL_USERNAME is set without MAIL_PASSWORD. Set both, or neither for a relay that asks for no log-in."
    if table.password is not None and table.username is None:
        return "MAIL_PASSWORD is set without MAIL_USERNAME. Set both, or neither for a relay that asks for no log-in."
    return None


def _plain_text(table: Table, given: Set[str]) -> str | None:
    half = table.username is None if table.token_source is not None or table.password else table.username is not None
    if half or table.relay.refusal is None:
        return None
    what = "The password for" if table.username is not None else "Mail to"
    return (
        f"{what} {table.server}:{table.port} would go over plain text. Set MAIL_USE_TLS=true (or MAIL_USE_SSL=true), "
        "or OUTBOX_ALLOW_PLAINTEXT=true if the network in between is trusted."
    )


def _mechanism_without_log_in(table: Table, given: Set[str]) -> str | None:
    if table.auth is not None and table.username is None:
        return (
            "OUTBOX_AUTH is set without MAIL_USERNAME. Set MAIL_USERNAME and MAIL_PASSWORD, or leave OUTBOX_AUTH out."
        )
    return None


def _password_beside_tokens(table: Table, given: Set[str]) -> str | None:
    if table.token_source is None:
        return None
    if table.username is None:
        return "Access tokens are set up without MAIL_USERNAME. Set it to the mailbox that the tokens are for."
    if table.password is not None:
        return (
            "MAIL_PASSWORD is set beside what gives access tokens (OUTBOX_TOKEN_…, OUTBOX_CLIENT_…, "
            "init_app(token=…)). Leave one of them out."
        )
    if table.auth is not None and table.auth not in TOKEN_MECHANISMS:
        return (
            f"OUTBOX_AUTH={table.auth} takes a password, and access tokens are set up. Set OUTBOX_AUTH=XOAUTH2 or "
            "OAUTHBEARER, or leave it out."
        )
    return None


def _preset_without_host(table: Table, given: Set[str]) -> str | None:
    if {"preset", "server"} & given == {"preset"} and preset_of(table.preset, "").host is None:
        hosts = {"ses": "email-smtp.<region>.amazonaws.com"}
        if table.preset in hosts:
            return f"OUTBOX_PRESET={table.preset} is set without MAIL_SERVER. Set it to {hosts[table.preset]}."
    return None


def _trust_in_vain(table: Table, given: Set[str]) -> str | None:
    if table.tls_ca_file is not None and not table.tls_verify:
        return "OUTBOX_TLS_CA_FILE is set, but OUTBOX_TLS_VERIFY=false verifies nothing. Leave one of them out."
    return None


def _tls_in_vain(table: Table, given: Set[str]) -> str | None:
    """About what has no effect, or not the one that was meant."""
    if table.tls_fingerprints and not table.tls_verify:
        return "OUTBOX_TLS_FINGERPRINTS is set, but OUTBOX_TLS_VERIFY=false verifies nothing. Leave one of them out."
    if table.tls_key_file is not None and table.tls_certificate_file is None:
        return "OUTBOX_TLS_KEY_FILE is set without OUTBOX_TLS_CERTIFICATE_FILE. Set both, or the latter alone."
    set_ = ("tls_fingerprints", "tls_certificate_file", "tls_name")
    if (vain := _names(set_, {one for one in set_ if getattr(table, one)})) and table.security is Security.NONE:
        return f"{vain} is set, but there is no TLS. Set MAIL_USE_TLS=true or MAIL_USE_SSL=true, or leave it out."
    return None


def _missing_file(table: Table, given: Set[str]) -> str | None:
    files = {
        "OUTBOX_TLS_CERTIFICATE_FILE": table.tls_certificate_file,
        "OUTBOX_TLS_KEY_FILE": table.tls_key_file,
    }
    missing = [f"{name} ({file})" for name, file in files.items() if file is not None and not is_there(file)]
    return f"{' and '.join(missing)} names a file that does not exist." if missing else None


def _two_places(table: Table, given: Set[str]) -> str | None:
    if table.socket is not None and (beside := _names(("server", "port", "source_address"), given)):
        return f"OUTBOX_SOCKET is set beside {beside}. Leave one of them out."
    return None


def _cannot_inline(table: Table, given: Set[str]) -> str | None:
    return MISSING if table.inline_css == "true" and not can_inline() else None


def _rates(table: Table, given: Set[str]) -> str | None:
    if table.rate is None or not table.per_day:
        return None
    if table.rate.day is not None:
        return f"OUTBOX_RATE says {table.rate.day}/day, and OUTBOX_PER_DAY={table.per_day}. Leave one of them out."
    wrong = never_reached(replace(table.rate, day=table.per_day))
    return None if wrong is None else f"OUTBOX_RATE with OUTBOX_PER_DAY {wrong}."


def _below(smaller: str, larger: str, why: str, *, or_equal: bool = False) -> tuple[frozenset[str], Check]:
    """A check that one setting is below another, where both were set."""

    def check(table: Table, given: Set[str]) -> str | None:
        below, above = getattr(table, smaller), getattr(table, larger)
        if not {smaller, larger} <= given or below < above or (or_equal and below == above):
            return None
        return f"{_name(smaller)} ({below:g}) must be below {_name(larger)} ({above:g}), or {why}."

    return frozenset({smaller, larger}), check


def _names(attributes: tuple[str, ...], given: Set[str]) -> str:
    return " and ".join(_name(one) for one in attributes if one in given)


def _name(attribute: str) -> str:
    spec: Spec = next(declared.metadata["spec"] for declared in fields(Table) if declared.name == attribute)
    return spec.name


_CONTRADICTIONS: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({"use_tls", "use_ssl"}), _both_kinds_of_tls),
    (frozenset({"unsubscribe_mailto", "unsubscribe_url"}), _mailto_alone),
    (frozenset({"redirect_to", "allow_recipients"}), _sink_is_not_allowed),
    (frozenset({"username", "password", "auth"}), _half_a_log_in),
    (frozenset({"server", "port", "use_tls", "use_ssl", "username", "password", "allow_plaintext"}), _plain_text),
    (frozenset({"username", "auth"}), _mechanism_without_log_in),
    (frozenset({"username", "password", "auth", *_TOKENS}), _password_beside_tokens),
    (frozenset({"preset", "server"}), _preset_without_host),
    (frozenset({"tls_fingerprints", "tls_key_file", "tls_certificate_file", "tls_name", "use_tls"}), _tls_in_vain),
    (frozenset({"tls_key_file", "tls_certificate_file"}), _missing_file),
    (frozenset({"socket", "server", "port", "source_address"}), _two_places),
    (frozenset({"tls_ca_file", "tls_verify"}), _trust_in_vain),
    (frozenset({"rate", "per_day"}), _rates),
    (frozenset({"inline_css"}), _cannot_inline),
    _below("send_timeout_seconds", "lease_seconds", "another worker takes the mail while it is being sent"),
    _below("heartbeat_seconds", "dead_after_seconds", "a living worker counts as dead between two heartbeats"),
    _below("retry_first_seconds", "retry_max_seconds", "the first wait is the longest", or_equal=True),
    _below("probe_seconds", "probe_max_seconds", "the first wait is the longest", or_equal=True),
)
