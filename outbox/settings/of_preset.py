"""The defaults that a preset gives: where the provider's relay is, and how much it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outbox.delivery.presets import Preset, preset_of
from outbox.settings.mail_table import MESSAGES_PER_CONNECTION
from outbox.settings.table import Table


def of_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults for what is not in `given`, by field. Host, port and TLS only where a preset was named, and no other
    host than the provider's own."""
    plain = Table()
    named, host = given.get("preset", plain.preset), given.get("server")
    known = preset_of(named, host or plain.server)
    found: dict[str, Any] = {}
    if known.connections is not None:
        found["connections"] = min(plain.connections, known.connections)
    if known.messages_per_connection is not None:
        found["max_emails"] = min(MESSAGES_PER_CONNECTION, known.messages_per_connection)
    if known.recipients is not None:
        found["recipients_per_transaction"] = min(plain.recipients_per_transaction, known.recipients)
    if named != "auto" and (known.host is not None if host is None else known.is_at(host)):
        found |= _place(known, given)
    return found


def _place(known: Preset, given: Mapping[str, Any]) -> dict[str, Any]:
    """Host, port and TLS, as far as they fit what was set."""
    tls_first = given.get("use_ssl", known.tls_first and not given.get("use_tls", False))
    port = known.tls_port if tls_first else known.starttls_port
    found: dict[str, Any] = {"use_ssl": tls_first, "use_tls": not tls_first}
    if known.host is not None:
        found["server"] = known.host
    if port is not None:
        found["port"] = port
    return found
