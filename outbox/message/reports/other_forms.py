"""Bounces in the words of one mail server, as they were before RFC 3464, and as some still are."""

from __future__ import annotations

import email
import functools
from collections.abc import Callable, Iterator
from typing import Any

from outbox.core.loggers import get_logger
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.message.reports.found import MOST_RECIPIENTS, Tie, address_of, event, time_of
from outbox.message.reports.parts import MOST_BYTES, Mail, first

_HEADER = "x-failed-recipients"  # Exim's, and Gmail's

Scan = Callable[[Any], tuple[frozenset[bytes], frozenset[bytes]]]

log = get_logger("outbox.reports")


def read(mail: Mail, data: bytes, tie: Tie) -> Iterator[ReportedEvent]:
    """One event for each recipient that is named. The server's code is not known: nothing is suppressed for it."""
    at = time_of(first(mail.fields, "date"))
    failed = [address_of(one) for one in first(mail.fields, _HEADER).split(",")]
    found = [(EventType.BOUNCED, one) for one in failed if one] or _scanned(data)
    for type, address in found[:MOST_RECIPIENTS]:
        yield event(tie, type, address, at=at)


def _scanned(data: bytes) -> list[tuple[EventType, str]]:
    scan = _scan()
    if scan is None:
        return []
    try:
        temporary, permanent = scan(email.message_from_bytes(data[:MOST_BYTES]))
    except Exception as error:  # noqa: BLE001 - a stranger wrote what it reads
        log.info("flufl.bounce can't read a mail: %s", type(error).__name__)
        return []
    found = [(EventType.BOUNCED, one) for one in sorted(permanent)]
    found += [(EventType.DEFERRED, one) for one in sorted(temporary - permanent)]
    texts = [(type, address_of(one.decode("utf-8", "replace"))) for type, one in found]
    return [(type, address) for type, address in texts if address]


@functools.cache
def _scan() -> Scan | None:
    """That of the extra `bounces`; None: it is not installed."""
    try:
        from flufl.bounce import all_failures
    except ImportError:
        return None
    scan: Scan = all_failures
    return scan
