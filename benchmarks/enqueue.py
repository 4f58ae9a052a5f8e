"""What it costs to enqueue: many messages at once against one by one, and a view's transaction with a mail and without.

    python -m benchmarks.enqueue [--database postgresql] [--mails N] [--repeat N]

Prints the ratios of medians, measured by turns in one run. `enqueue_many` aims at 3 times the rate of the single call,
the transaction with a mail (two templates rendered, bytes built, rows written) at half the rate of the one without.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from jinja2 import DictLoader
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from outbox import Message, Outbox
from outbox.store.databases.sqlite import configure_sqlite
from tests.servers.databases import NAMES, Database, Databases

LINE = "Your order is on its way and will be with you by Thursday."
TEMPLATES = {
    "order.txt": "Dear {{ name }},\n{% for line in lines %}{{ line }}\n{% endfor %}",
    "order.html": "<html><body><p>Dear {{ name }},</p>\n{% for line in lines %}<p>{{ line }}</p>\n{% endfor %}</body>",
}
TEXT = f"{LINE}\n" * 17
HTML = "<html><body>" + f"<p>{LINE}</p>\n" * 15 + "</body></html>\n"


class Base(DeclarativeBase):
    """The application's own tables."""


class Order(Base):
    """The business row."""

    __tablename__ = "bench_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(sa.String(100))
    total: Mapped[int]


class Shop:
    """An application that sends a mail for each order."""

    def __init__(self, database: Database) -> None:
        self.engine = database.engine
        if database.name == "sqlite":
            configure_sqlite(self.engine, immediate=False)
        Base.metadata.create_all(self.engine)
        self.app = Flask("bench")
        self.app.config.update(MAIL_DEFAULT_SENDER="shop@example.com")
        self.app.jinja_loader = DictLoader(TEMPLATES)
        self.outbox = Outbox(self.app, session=lambda: self.session)
        self.session: Session

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One as in a request: a session of its own, committed at the end."""
        with Session(self.engine) as self.session:
            yield self.session
            self.session.commit()

    def order(self, number: int, *, mail: bool) -> None:
        """A view's transaction."""
        with self.transaction() as session:
            session.add(Order(customer=f"r{number}@example.org", total=number))
            if mail:
                lines = [LINE] * 15
                self.outbox.send_email(f"r{number}@example.org", "Your order", "order", name="Ann", lines=lines)

    def single(self, mails: int) -> None:
        """All in one transaction, by one call each."""
        with self.transaction():
            for message in messages(mails):
                self.outbox.enqueue(message)

    def many(self, mails: int) -> None:
        """All in one transaction, by one call."""
        with self.transaction():
            self.outbox.enqueue_many(messages(mails))

    def many_keyed(self, mails: int) -> None:
        """The same, each with a key of its own."""
        start = time.monotonic_ns()
        with self.transaction():
            self.outbox.enqueue_many((one, {"key": f"{start}-{n}"}) for n, one in enumerate(messages(mails)))


def messages(count: int) -> list[Message]:
    """2 KB of text and HTML each."""
    return [Message("Your order", recipients=[f"r{n}@example.org"], body=TEXT, html=HTML) for n in range(count)]


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rates(repeat: int, count: int, *works: Callable[[], Any]) -> list[float]:
    """The median rate of each, taken by turns."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(repeat):
        for kept, work in zip(taken, works, strict=True):
            kept.append(count / timed(work))
    return [statistics.median(kept) for kept in taken]


def measure(shop: Shop, mails: int, repeat: int) -> None:
    """Print the table."""
    orders = max(100, mails // 20)

    def views(*, mail: bool) -> Callable[[], None]:
        return lambda: [shop.order(number, mail=mail) for number in range(orders)] and None

    with shop.app.app_context():
        shop.single(100), shop.many(100), shop.order(0, mail=True)
        single, many, keyed = rates(
            repeat, mails, lambda: shop.single(mails), lambda: shop.many(mails), lambda: shop.many_keyed(mails)
        )
        without, with_mail = rates(repeat, orders, views(mail=False), views(mail=True))
    print(f"{'':<42}{'per second':>12}{'ratio':>8}")
    print(f"{'one by one, in one transaction':<42}{single:>12,.0f}{1:>8.2f}")
    print(f"{'enqueue_many':<42}{many:>12,.0f}{many / single:>8.2f}")
    print(f"{'enqueue_many, each with a key':<42}{keyed:>12,.0f}{keyed / single:>8.2f}")
    print(f"{'a view with a business row':<42}{without:>12,.0f}{1:>8.2f}")
    print(f"{'the same with send_email':<42}{with_mail:>12,.0f}{with_mail / without:>8.2f}")


def main() -> None:
    """Measure on one database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=NAMES, default="postgresql")
    parser.add_argument("--mails", type=int, default=10_000, metavar="N", help="in one transaction (10,000)")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="repetitions of each (5)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        databases = Databases(Path(folder))
        try:
            with databases.with_schema(given.database) as database:
                measure(Shop(database), given.mails, given.repeat)
        finally:
            databases.close()


if __name__ == "__main__":
    main()
