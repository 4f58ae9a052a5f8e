"""Whether a connection can be written to, and what is written can be rolled back.

With AUTOCOMMIT it can't, and its mail is sent anyway.
"""

from __future__ import annotations

REMEDY = (
    "Create the engine without isolation_level='AUTOCOMMIT' (SQLite: without the driver's isolation_level None or "
    "autocommit=True)."
)

READ_ONLY = (
    "the session's transaction is read-only. Enqueue in a session whose engine is not postgresql_readonly, has no "
    "default_transaction_read_only, opens the SQLite file for writing, and is connected to the primary server."
)
