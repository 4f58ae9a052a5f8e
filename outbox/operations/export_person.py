"""Export a person: what is stored of an address, as files that can be handed to whom it belongs to.

Each message to it is an .eml file; what became of it, and all else that is known of the address, is in tables. Who else
got a message is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa

from outbox.message.digest import digest
from outbox.operations import audit, person_files
from outbox.operations.erase_text import words_of
from outbox.operations.export_rows import Export, Exported
from outbox.operations.person import Budget, deliveries_to, spellings_of
from outbox.operations.unsubscribing import Lists
from outbox.store.reading import reading
from outbox.store.types import DbNow

ACTION = "export"

_README = """What is stored of {address}, by the mail outbox of this application, at {at}.

messages/     each message to this address, as it was sent, to be opened with a mail program
about/        messages to others that name this address
*.csv *.json  the tables, each in two forms, times in UTC:
  deliveries     each message to this address, and what became of it
  attempts       each attempt to deliver one
  events         what was reported afterwards: bounces, complaints, and so on
  gathered       what waits to be told to it in one message, with others of its kind
  suppressions   why the address gets no mail, or not all of it
  subscriptions  the lists, and whether the address is subscribed
  about          where messages to others name the address
  history        what people did to these messages, without their names; "read": somebody looked at the text

Who else got a message is left out. The text of a message may have been removed before ("redacted").
"""


def count(engine: sa.Engine, address: str, *, address_key: bytes, most: int) -> int:
    """How many deliveries to the address there are; it stops above `most`."""
    hashed, found, after = digest(address, address_key), 0, 0
    spellings = spellings_of(engine, address, hashed)
    while found <= most:
        with reading(engine) as connection:
            ids = deliveries_to(connection, spellings, hashed, after, erased=True)
        if not ids:
            break
        found, after = found + len(ids), ids[-1]
    return found


def export(
    engine: sa.Engine,
    address: str,
    where: Path,
    *,
    lists: Lists,
    titles: Mapping[str, str],
    by: str,
    note: str | None = None,
    seconds: float | None = None,
) -> Exported:
    """Write what is stored of `address`, in every spelling of the same mailbox, to the new folder `where`.

    `titles`: of the lists, by kind. The audit has who did it, before anything is read: the keyed digest, not the
    address. Messages to others are looked for no longer than `seconds`. Raises FileExistsError, ValueError where `by`
    names nobody.
    """
    there = count(engine, address, address_key=lists.address_key, most=audit.FEW * 1_000)
    made = Export(engine, address, where, lists.address_key, Budget(seconds))
    with ExitStack() as stack:
        made.open(stack)
        _note(engine, made, there, by, note)
        made.deliveries()
        made.reported()
        made.gathered()
        made.subscriptions(lists, titles)
        made.about()
        made.history()
        with person_files.opened(where / "README.txt") as file, reading(engine) as connection:
            at = connection.execute(sa.select(DbNow())).scalar_one()
            file.write(_README.format(address=address, at=f"{at:%Y-%m-%d %H:%M} UTC").encode())
    made.done.rows, made.done.cut = dict(made.tables.counts), made.budget.spent
    return made.done


def _note(engine: sa.Engine, made: Export, there: int, by: str, note: str | None) -> None:
    with engine.begin() as connection:
        said = note and words_of(made.spellings).whole.sub(made.done.digest, note)
        audit.write(connection, ACTION, by=by, count=there or 1, filters=f"address {made.done.digest}", note=said)
