"""What a message's row says, sealed: each value with the message's own key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from outbox.message import sealed_bytes
from outbox.message.keyring import DataKey
from outbox.message.sealed import Opened, kept_clear, seal, seal_json

_JSON = ("headers", "utf8_header", "options", "metadata")
_LONGEST_SUBJECT = 998
_HASHED = "sealed:"


def sealed_message(
    values: Mapping[str, Any], recipients: Iterable[str], key: str | None, data_key: DataKey
) -> dict[str, Any]:
    """Those of the columns that are sealed. `key`: as the application gave it, kept among the options.

    The envelope's sender stays clear, since pauses and routes go by it, unless it names a recipient (VERP).
    """
    if key is not None:
        values = {**values, "options": {**(values["options"] or {}), "key": [key]}}
    sealed: dict[str, Any] = {
        name: None if values[name] is None else seal_json(values[name], name, data_key) for name in _JSON
    }
    sealed["subject"] = seal(values["subject"], "subject", data_key, _LONGEST_SUBJECT)
    sealed["skeleton"] = sealed_bytes.seal(values["skeleton"], "skeleton", data_key)
    if any(names(values["envelope_from"], one) for one in recipients):
        sealed["envelope_from"] = seal(values["envelope_from"], "envelope_from", data_key)
    return sealed


def like_before(subject: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` of columns of a message, sealed if it is; its `subject`, as it was read, tells that."""
    key = subject.key if isinstance(subject, Opened) else None
    if key is None:
        return {name: kept_clear(value) if name == "subject" else value for name, value in values.items()}
    return {name: _sealed(name, value, key) for name, value in values.items()}


def _sealed(name: str, value: Any, key: DataKey) -> Any:
    if name == "skeleton" and value:
        return sealed_bytes.seal(value, name, key)
    if name in _JSON and value:
        return seal_json(value, name, key)
    return seal(value, name, key, _LONGEST_SUBJECT) if name == "subject" and value else value


def names(sender: str, recipient: str) -> bool:
    """Whether an envelope sender says whom the message goes to: `bounces+ann=example.org@shop.example`."""
    local, _, domain = recipient.lower().rpartition("@")
    sender = sender.lower()
    return local in sender and domain in sender


def hashed_key(key: str, address_key: bytes) -> str:
    """What is stored in the place of an idempotency key: it may hold an address, or say whose message it is."""
    return f"{_HASHED}{hashlib.blake2b(key.encode(), digest_size=16, key=address_key).hexdigest()}"


def key_forms(key: str, address_key: bytes) -> tuple[str, str]:
    """The key as it is stored in clear, and sealed."""
    return key, hashed_key(key, address_key)


def given_key(key: str | None, options: Mapping[str, Any] | None) -> str | None:
    """The key as the application gave it. `options`: the column, opened."""
    kept = (options or {}).get("key")
    return kept[0] if kept and key is not None and key.startswith(_HASHED) else key
