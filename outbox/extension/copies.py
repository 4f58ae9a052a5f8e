"""`always_bcc`: somebody gets a copy of each message, by a delivery of its own that no header names."""

from __future__ import annotations

from dataclasses import replace

from outbox.message.digest import normal_form
from outbox.message.values import Composed
from outbox.settings import Settings
from outbox.settings.kinds import Policy


def with_copy(composed: Composed, settings: Settings, kind: str | None, policy: Policy | None) -> Composed:
    """`composed` with one recipient more, unless the policy of its kind or the settings want none, or it is there."""
    to = _copy_to(settings, kind, policy)
    if to is None or normal_form(to) in map(normal_form, composed.recipients):
        return composed
    return replace(composed, recipients=(*composed.recipients, to), copy_to=to)


def _copy_to(settings: Settings, kind: str | None, policy: Policy | None) -> str | None:
    if settings.always_bcc is None and (policy is None or policy.always_bcc is None):
        return None
    named = kind in settings.sensitive_kinds and (policy is None or policy.always_bcc is None)
    return None if named else (policy or Policy("")).copy_to(settings.always_bcc)
