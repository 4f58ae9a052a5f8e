"""The signers of a worker's transports, by the settings and by which keys have signed before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox.core.events import logger
from outbox.message.dkim.signer import Signer
from outbox.settings import Settings
from outbox.store.dkim_turns import DkimTurns

if TYPE_CHECKING:
    from sqlalchemy import Engine


def signers(engine: Engine, settings: Settings) -> dict[str, Signer]:
    """By transport, of those that sign. Raises ConfigurationError where a key can't be used."""
    found, turns = {}, DkimTurns(engine, settings.environment)
    for relay in settings.transports:
        if (dkim := relay.dkim) is None:
            continue
        keys = dkim.read_keys()
        first = {key.algorithm: key.selector for key in reversed(keys)}
        known = {kind: turns.begin(relay.name, kind, selector) for kind, selector in first.items()}
        found[relay.name] = Signer(dkim.domain, keys, known)
        for words in dkim.remarks(relay.preset):
            logger.warning("%s: %s", relay.name, words)
    return found
