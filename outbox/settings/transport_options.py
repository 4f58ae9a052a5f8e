"""What a transport may have of its own, and how a setting is called there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from outbox.settings.connection_table import ConnectionTable
from outbox.settings.dkim_table import DkimTable
from outbox.settings.relay_table import RelayTable
from outbox.settings.route_rules import DEFAULT, PREFIX
from outbox.settings.spec import Spec
from outbox.settings.table import Table

SPECS: Mapping[str, Spec] = MappingProxyType({declared.name: declared.metadata["spec"] for declared in fields(Table)})
"""By field of the table."""

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "USERNAME": "username",
        "PASSWORD": "password",
        "MAX_EMAILS": "max_emails",
        "CONNECTIONS": "connections",
        **{
            SPECS[name].name.removeprefix("OUTBOX_"): name
            for table in (ConnectionTable, DkimTable, RelayTable)
            for name in table.__annotations__
        },
    }
)
"""The fields of the table, by option."""

SMTP_ALONE = frozenset(
    {
        "ALLOW_PLAINTEXT",
        "AUTH",
        "CLIENT_ID",
        "CLIENT_SECRET",
        "EHLO_IGNORE",
        "LOCAL_HOSTNAME",
        "PIPELINING",
        "PROTOCOL",
        "RECIPIENTS_PER_TRANSACTION",
        "REFRESH_TOKEN",
        "REFRESH_TOKEN_FILE",
        "SOCKET",
        "TOKEN",
        "TOKEN_CERTIFICATE_FILE",
        "TOKEN_COMMAND",
        "TOKEN_SCOPE",
        "TOKEN_SERVICE_ACCOUNT_FILE",
        "TOKEN_URL",
    }
)
"""Options that mean nothing to a transport which is not SMTP or LMTP."""

_OPTION_OF = {SPECS[name].name: option for option, name in reversed([*OPTIONS.items()])}
_NAME = re.compile(r"\b(?:MAIL|OUTBOX)_[A-Z][A-Z0-9_]*")
_PHRASES = (  # what the URL says in place of a setting; the longer before the shorter
    (re.compile(r",? and MAIL_USE_(?:TLS|SSL)=false"), ""),
    (re.compile(r"\bset MAIL_USE_TLS(?:=true)?"), "begin {url} with smtp+starttls://"),
    (re.compile(r"\bSet MAIL_USE_TLS(?:=true)?"), "Begin {url} with smtp+starttls://"),
    (re.compile(r"\bset MAIL_USE_SSL(?:=true)?"), "begin {url} with smtps://"),
    (re.compile(r"\bSet MAIL_USE_SSL(?:=true)?"), "Begin {url} with smtps://"),
    (re.compile(r"MAIL_USE_TLS(?:=true)?"), "smtp+starttls://"),
    (re.compile(r"MAIL_USE_SSL(?:=true)?"), "smtps://"),
    (re.compile(r"MAIL_PORT=(\d+)"), r"port \1"),
    (re.compile(r"MAIL_SERVER and MAIL_PORT"), "the host and port in {url}"),
    (re.compile(r"MAIL_SERVER"), "the host in {url}"),
    (re.compile(r"MAIL_PORT"), "the port in {url}"),
)


def key(transport: str, option: str) -> str:
    """The setting of one transport."""
    return f"{PREFIX}{transport.upper()}_{option}"


def in_its_words(words: str, transport: str | None) -> str:
    """What is said of the `MAIL_*` and general settings, by the names that they have for `transport`.

    They are its own for "default", and for the only one, whose name is `host:port`, or None.
    """
    if transport is None or transport == DEFAULT or not transport.isidentifier():
        return words
    for phrase, instead in _PHRASES:
        words = phrase.sub(instead.format(url=key(transport, "URL")), words)
    return _NAME.sub(lambda found: _own(found[0], transport), words)


def _own(name: str, transport: str) -> str:
    option = _OPTION_OF.get(name, name.removeprefix("OUTBOX_") if name.endswith("_") else "")
    return key(transport, option) if any(one.startswith(option) for one in OPTIONS if option) else name
