"""A former home of what the databases differ in, for code that uses it; it goes before the first release."""

from outbox.store.databases.sqlite import configure_sqlite
from outbox.store.reading import reading
from outbox.store.types import DbNow, No, UtcDateTime, big_binary, big_integer

__all__ = ["DbNow", "No", "UtcDateTime", "big_binary", "big_integer", "configure_sqlite", "reading"]
