"""How the outbox's tables are made and changed: for applications and their migrations."""

from __future__ import annotations

from outbox.store.schema import (
    FLASK_MIGRATE_REMEDY,
    LATEST,
    REMEDY,
    REPAIR,
    STEPS,
    Step,
    check_version,
    create,
    downgrade,
    drop,
    follow,
    include_name,
    missing,
    repair,
    upgrade,
)

__all__ = [
    "FLASK_MIGRATE_REMEDY",
    "LATEST",
    "REMEDY",
    "REPAIR",
    "STEPS",
    "Step",
    "check_version",
    "create",
    "downgrade",
    "drop",
    "follow",
    "include_name",
    "missing",
    "repair",
    "upgrade",
]
