"""Several transports: one URL each, with options.

What a transport's URL and its own settings leave open is as for a relay without further settings; only where house-wide
things stand, such as the CA file, is taken from the general settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote

from outbox.settings.contradictions import contradictions
from outbox.settings.endpoint import TransportFactory
from outbox.settings.of_preset import of_preset
from outbox.settings.other_protocols import EXTRA, own_place, without_smtp, wrong_schemes
from outbox.settings.relay import Relay
from outbox.settings.route_rules import DEFAULT, PREFIX, is_of_transport
from outbox.settings.shown import nearest
from outbox.settings.table import Table
from outbox.settings.transport_options import OPTIONS, SMTP_ALONE, SPECS, in_its_words, key
from outbox.settings.transport_url import host_of, known_schemes, parts_of
from outbox.settings.values import is_unset

_SCHEMES: dict[str, tuple[dict[str, Any], int]] = {
    "smtp": ({}, 25),
    "smtp+starttls": ({"use_tls": True}, 587),
    "smtps": ({"use_ssl": True}, 465),
    "lmtp": ({"protocol": "lmtp"}, 24),
    "lmtp+unix": ({"protocol": "lmtp"}, 0),
    "ses+https": ({"protocol": "ses", "use_ssl": True, "preset": "ses"}, 443),
}
_BEFORE_HOST = {"USERNAME", "PASSWORD"}
_LOG_IN = frozenset({"username", "password", "server"})
_HOUSEWIDE = (  # fields that hold for every transport unless it says otherwise
    "tls_ca_file",
    "tls_verify",
    "local_hostname",
    "connect_timeout_seconds",
    "command_timeout_seconds",
    "send_timeout_seconds",
    "connections",
    "ramp",
)

_NOTED = frozenset(  # of no effect as well where nothing goes by the `MAIL_*` settings, which is no danger
    {"allow_plaintext", "pipelining", "preset", "ehlo_ignored", "recipients_per_transaction", "rate_unit"}
)


def transports(
    config: Mapping[str, Any], table: Table, makers: Mapping[str, TransportFactory]
) -> tuple[tuple[Relay, ...], list[str]]:
    """The transports in the order of preference, and what is wrong with their settings.

    `makers`: the application's own, by the scheme of their URLs.
    """
    if not table.transport_names:
        return (replace(table.relay, connections=table.connections),), [*_unnamed(config, ())]
    relays: list[Relay] = []
    faults: list[str] = [*_unnamed(config, table.transport_names), *wrong_schemes(makers, _SCHEMES)]
    if DEFAULT not in table.transport_names or not is_unset(config.get(key(DEFAULT, "URL"))):
        faults += _in_vain(config, table.transport_names[0])
    for name in table.transport_names:
        if name == DEFAULT and is_unset(config.get(key(name, "URL"))):
            relays.append(replace(table.relay, label=name, connections=table.connections))
            continue
        relay, wrong = _transport(name, config, table, makers)
        faults += wrong
        if relay is not None:
            relays.append(relay)
    return tuple(relays), faults


def _in_vain(config: Mapping[str, Any], first: str) -> Iterator[str]:
    """Settings about the transport of the `MAIL_*` settings, where there is none."""
    for option, name in OPTIONS.items():
        spec = SPECS[name]
        if (
            name not in _NOTED.union(_HOUSEWIDE)
            and spec.name.startswith("OUTBOX_")
            and not is_unset(config.get(spec.name))
        ):
            yield (
                f"{spec.name} is about what goes by the MAIL_* settings, which nothing does. "
                f"Set {key(first, option)}, or leave it out."
            )


def _transport(
    name: str, config: Mapping[str, Any], table: Table, makers: Mapping[str, TransportFactory]
) -> tuple[Relay | None, list[str]]:
    setting = key(name, "URL")
    url = config.get(setting)
    if is_unset(url):
        example = "smtp+starttls://user:password@smtp.example.org"
        return None, [f"OUTBOX_TRANSPORTS names {name!r}, but {setting} is not set. Set it to a URL such as {example}."]
    try:
        parts = parts_of(str(url).strip())
        make = makers.get(parts.scheme.lower())
        scheme, port = _SCHEMES[parts.scheme.lower()] if make is None else ({}, 0)
        if make is not None:
            given = {"protocol": parts.scheme.lower(), **own_place(parts)}
        else:
            given = {**scheme, **(_place(parts, port) if port else _socket(parts))}
    except KeyError:
        return None, [f"{setting} does not begin with one of {known_schemes(str(url), (*_SCHEMES, *makers))}"]
    except ValueError as problem:
        return None, [f"{setting}: {problem}."]
    own = _own(name, config, parts, None if make else EXTRA.get(given.get("protocol", ""), frozenset()))
    housewide = {one: getattr(table, one) for one in _HOUSEWIDE}
    made = replace(Table(), **(housewide | of_preset(given | own.given) | given | own.given))
    relay = replace(made.relay, label=name, connections=made.connections)
    checked = own.broken if relay.speaks_smtp else own.broken | _LOG_IN  # other protocols have their own
    against = contradictions(made, (given | own.given).keys(), checked)
    faults = [*own.faults, *(in_its_words(fault, name) for fault in against)]
    if not relay.speaks_smtp:
        return without_smtp(replace(relay, make=make), own.extra, setting, faults)
    return relay, faults


@dataclass(slots=True)
class _Own:
    """What is set for one transport alone."""

    given: dict[str, Any] = field(default_factory=dict)  # by field of the table
    extra: dict[str, str] = field(default_factory=dict)  # what its protocol alone has, by option
    broken: set[str] = field(default_factory=set)  # fields whose value is faulty
    faults: list[str] = field(default_factory=list)


def _own(name: str, config: Mapping[str, Any], parts: SplitResult, more: Set[str] | None) -> _Own:
    """From its URL and its own keys.

    `more`: the options of its protocol beside those of every transport; None, for a class of the application's: any.
    """
    own = _Own()
    smtp = more is not None and not more
    known = [option for option in OPTIONS if smtp or option not in SMTP_ALONE]
    for option, (where, value) in _found(name, config, parts, own.faults).items():
        if option in known:
            try:
                own.given[OPTIONS[option]] = SPECS[OPTIONS[option]].form.parse(value)
            except ValueError as problem:
                own.broken.add(OPTIONS[option])
                own.faults.append(f"{where} {problem}.")
        elif more is None or option.lower() in more:
            own.extra[option.lower()] = str(value)
        elif option in SMTP_ALONE:
            own.faults.append(f"{where} has no effect: it is an option of SMTP. Leave it out.")
        else:
            options = [one.lower() for one in (*known, *sorted(more))]
            close = nearest(option.lower(), options)
            hint = f"Did you mean {close}?" if close else f"There are {', '.join(options)}."
            own.faults.append(f"{where} is not an option of a transport. {hint}")
    return own


def _found(name: str, config: Mapping[str, Any], parts: SplitResult, faults: list[str]) -> dict[str, tuple[str, Any]]:
    """Where each option is set, and to what."""
    found: dict[str, tuple[str, Any]] = {}
    url = key(name, "URL")
    for option, value in (("USERNAME", parts.username), ("PASSWORD", parts.password)):
        if value is not None:
            found[option] = f"the {option.lower()} in {url}", unquote(value)
    for option, value in parse_qsl(parts.query, keep_blank_values=True):
        if found.get(option.upper(), ("",))[0] == f"{option} in {url}":
            faults.append(f"{option} is twice in {url}. Leave one out.")
        found[option.upper()] = f"{option} in {url}", value
        if option.upper() in _BEFORE_HOST:
            faults.append(f"{option} in {url} belongs before the host (user:password@host), or into a key of its own.")
    for setting, value in config.items():
        option = setting.removeprefix(key(name, ""))
        if option == setting or option == "URL" or is_unset(value):
            continue
        if option in found:
            faults.append(f"{setting} and {found[option][0]} mean the same. Set one of them.")
        found[option] = setting, value
    return found


def _place(parts: SplitResult, port: int) -> dict[str, Any]:
    return {"server": host_of(parts), "port": parts.port or port}


def _socket(parts: SplitResult) -> dict[str, Any]:
    """The path of a Unix socket: lmtp+unix:///run/dovecot/lmtp."""
    if parts.hostname or not parts.path.strip("/"):
        raise ValueError("there is no path in it, such as lmtp+unix:///run/dovecot/lmtp")
    return {"socket": Path(unquote(parts.path))}


def _unnamed(config: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Keys of transports that OUTBOX_TRANSPORTS does not name."""
    for setting, value in config.items():
        if not is_of_transport(setting) or is_unset(value):
            continue
        if not any(setting.startswith(key(name, "")) for name in names):
            named = setting.removeprefix(PREFIX).partition("_")[0].lower()
            close = nearest(named, names)
            hint = f"did you mean {close!r}?" if close else f"add {named!r} to OUTBOX_TRANSPORTS."
            yield f"{setting} is set, but OUTBOX_TRANSPORTS names no such transport: {hint}"
