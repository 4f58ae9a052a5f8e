"""Several transports: one URL each, with options.

What a transport's URL and its own settings leave open is as for a relay without further settings; only where house-wide
things stand, such as the CA file, is taken from the general settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote

from outbox.settings.connection_table import ConnectionTable
from outbox.settings.contradictions import contradictions
from outbox.settings.dkim_table import DkimTable, dkim_faults
from outbox.settings.endpoint import TransportFactory
from outbox.settings.of_preset import of_preset
from outbox.settings.other_protocols import EXTRA, own_place, without_smtp, wrong_schemes
from outbox.settings.relay import Relay
from outbox.settings.relay_table import RelayTable
from outbox.settings.route_rules import DEFAULT, PREFIX, is_of_transport
from outbox.settings.shown import nearest
from outbox.settings.spec import Spec
from outbox.settings.table import Table
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
_SPECS: dict[str, Spec] = {declared.name: declared.metadata["spec"] for declared in fields(Table)}
_OWN = {  # what a transport may have of its own: options, and the fields of the table
    "USERNAME": "username",
    "PASSWORD": "password",
    "MAX_EMAILS": "max_emails",
    "CONNECTIONS": "connections",
    **{
        _SPECS[name].name.removeprefix("OUTBOX_"): name
        for table in (ConnectionTable, DkimTable, RelayTable)
        for name in table.__annotations__
    },
}
_AS_OPTION = {_SPECS[name].name: option for option, name in reversed(_OWN.items())}
_SETTING = re.compile(r"\b(?:MAIL|OUTBOX)_[A-Z][A-Z0-9_]*")
_BEFORE_HOST = {"USERNAME", "PASSWORD"}
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
    if table.dkim is not None and (
        DEFAULT not in table.transport_names or not is_unset(config.get(_key(DEFAULT, "URL")))
    ):
        first = table.transport_names[0]
        faults.append(
            "OUTBOX_DKIM_DOMAIN and OUTBOX_DKIM_KEYS sign what goes by the MAIL_* settings, which nothing does. Set "
            f"{_key(first, 'DKIM_DOMAIN')} and {_key(first, 'DKIM_KEYS')}."
        )
    for name in table.transport_names:
        if name == DEFAULT and is_unset(config.get(_key(name, "URL"))):
            relays.append(replace(table.relay, label=name, connections=table.connections))
            continue
        relay, wrong = _transport(name, config, table, makers)
        faults += wrong
        if relay is not None:
            relays.append(relay)
    return tuple(relays), faults


def _transport(
    name: str, config: Mapping[str, Any], table: Table, makers: Mapping[str, TransportFactory]
) -> tuple[Relay | None, list[str]]:
    key = _key(name, "URL")
    url = config.get(key)
    if is_unset(url):
        example = "smtp+starttls://user:password@smtp.example.org"
        return None, [f"OUTBOX_TRANSPORTS names {name!r}, but {key} is not set. Set it to a URL such as {example}."]
    try:
        parts = parts_of(str(url).strip())
        make = makers.get(parts.scheme.lower())
        scheme, port = _SCHEMES[parts.scheme.lower()] if make is None else ({}, 0)
        if make is not None:
            given = {"protocol": parts.scheme.lower(), **own_place(parts)}
        else:
            given = {**scheme, **(_place(parts, port) if port else _socket(parts))}
    except KeyError:
        return None, [f"{key} does not begin with one of {known_schemes(str(url), (*_SCHEMES, *makers))}"]
    except ValueError as problem:
        return None, [f"{key}: {problem}."]
    extra: dict[str, str] = {}
    own, faults = _own(name, config, parts, extra, None if make else EXTRA.get(given.get("protocol", ""), frozenset()))
    housewide = {one: getattr(table, one) for one in _HOUSEWIDE}
    made = replace(Table(), **(housewide | of_preset(given | own) | given | own))
    relay = replace(made.relay, label=name, connections=made.connections)
    if not relay.speaks_smtp:
        if not faults:
            faults += [_in_its_words(name, fault) for fault in dkim_faults(made)]
        return without_smtp(replace(relay, make=make), extra, key, faults)
    if not faults:
        faults += [_in_its_words(name, fault) for fault in contradictions(made, (given | own).keys(), set())]
    return relay, faults


def _own(
    name: str, config: Mapping[str, Any], parts: SplitResult, extra: dict[str, str], more: Set[str] | None
) -> tuple[dict[str, Any], list[str]]:
    """What is set for this transport alone, by field, from its URL and its own keys.

    `more`: options beside those of every transport, which go into `extra`; None: any.
    """
    found: dict[str, tuple[str, Any]] = {}  # (where it stands, the value), by option
    faults: list[str] = []
    url = _key(name, "URL")
    for option, value in (("USERNAME", parts.username), ("PASSWORD", parts.password)):
        if value is not None:
            found[option] = f"the {option.lower()} in {url}", unquote(value)
    for option, value in parse_qsl(parts.query, keep_blank_values=True):
        if found.get(option.upper(), ("",))[0] == f"{option} in {url}":
            faults.append(f"{option} is twice in {url}. Leave one out.")
        found[option.upper()] = f"{option} in {url}", value
        if option.upper() in _BEFORE_HOST:
            faults.append(f"{option} in {url} belongs before the host (user:password@host), or into a key of its own.")
    for key, value in config.items():
        option = key.removeprefix(_key(name, ""))
        if option == key or option == "URL" or is_unset(value):
            continue
        if option in found:
            faults.append(f"{key} and {found[option][0]} mean the same. Set one of them.")
        found[option] = key, value
    given: dict[str, Any] = {}
    for option, (where, value) in found.items():
        if option not in _OWN and (more is None or option.lower() in more):
            extra[option.lower()] = str(value)
            continue
        if option not in _OWN:
            close = nearest(option, [*_OWN, *(one.upper() for one in more or ())])
            known = ", ".join([*_OWN, *sorted(more or ())]).lower()
            hint = f"Did you mean {close.lower()}?" if close else f"There are {known}."
            faults.append(f"{where} is not an option of a transport. {hint}")
            continue
        field = _OWN[option]
        try:
            given[field] = _SPECS[field].form.parse(value)
        except ValueError as problem:
            faults.append(f"{where} {problem}.")
    return given, faults


def _in_its_words(name: str, fault: str) -> str:
    """What is wrong with a transport's settings, by their names for this one."""
    fault = fault.replace("Set MAIL_USE_TLS=true (or MAIL_USE_SSL=true)", "Use smtp+starttls:// or smtps://")
    return _SETTING.sub(lambda found: _key(name, _AS_OPTION.get(found[0], "URL")), fault)


def _place(parts: SplitResult, port: int) -> dict[str, Any]:
    return {"server": host_of(parts), "port": parts.port or port}


def _socket(parts: SplitResult) -> dict[str, Any]:
    """The path of a Unix socket: lmtp+unix:///run/dovecot/lmtp."""
    if parts.hostname or not parts.path.strip("/"):
        raise ValueError("there is no path in it, such as lmtp+unix:///run/dovecot/lmtp")
    return {"socket": Path(unquote(parts.path))}


def _unnamed(config: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Keys of transports that OUTBOX_TRANSPORTS does not name."""
    for key, value in config.items():
        if is_of_transport(key) and not is_unset(value) and not any(key.startswith(_key(name, "")) for name in names):
            named = key.removeprefix(PREFIX).partition("_")[0].lower()
            close = nearest(named, names)
            hint = f"did you mean {close!r}?" if close else f"add {named!r} to OUTBOX_TRANSPORTS."
            yield f"{key} is set, but OUTBOX_TRANSPORTS names no such transport: {hint}"


def _key(name: str, option: str) -> str:
    return f"{PREFIX}{name.upper()}_{option}"
