"""What `outbox-check` says of OUTBOX_ROUTES: rules by kinds that the application does not have."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from outbox.extension.state import bound_to
from outbox.operations import Finding
from outbox.settings import Settings
from outbox.settings.shown import nearest

if TYPE_CHECKING:
    from flask import Flask


def findings(configured: Settings, app: Flask) -> Iterator[Finding]:
    """A note for each rule whose pattern fits no kind that is defined, or only kinds that go elsewhere anyway.

    A fault where OUTBOX_KINDS_STRICT refuses all other kinds.
    """
    kinds = [*bound_to(app).kinds]
    for number, rule in enumerate(configured.routes.rules, 1):
        if rule.kind is None or not kinds:
            continue
        fitting = [one for one in kinds if fnmatchcase(one.name, rule.kind)]
        if not fitting:
            close = nearest(rule.kind, [one.name for one in kinds])
            remedy = f"Did you mean {close}?" if close else "outbox-kinds lists them."
            words = f"OUTBOX_ROUTES, rule {number}: {rule.kind!r} fits no kind that the application defines"
            yield Finding("routes", False if configured.kinds_strict else None, words, remedy)
        elif all(one.transport is not None for one in fitting):
            words = f"OUTBOX_ROUTES, rule {number}: {fitting[0].name!r} names a transport of its own, which goes first"
            yield Finding("routes", None, words, "Leave out one of the two.")
