"""An application with one business table, whose view writes a row and, or not, a mail about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks import mails
from outbox import Outbox
from tests.servers.databases import Database

ITEMS = [{"name": f"A useful thing, model {n}", "count": n, "price": 9.99 * n} for n in range(1, 9)]


class Base(DeclarativeBase):
    """The shop's own tables."""


class Order(Base):
    """The business row."""

    __tablename__ = "shop_order"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(sa.String(200))
    total: Mapped[int]


_INSERT = sa.text("INSERT INTO shop_order (customer, total) VALUES (:customer, :total)")


@dataclass
class Shop:
    """The application and its ways to write an order: by the ORM, by textual SQL."""

    app: Flask
    outbox: Outbox
    engine: sa.Engine

    def by_orm(self, session: Session, number: int) -> None:
        session.add(Order(customer=f"customer {number}", total=number))

    def by_sql(self, session: Session, number: int) -> None:
        session.execute(_INSERT, {"customer": f"customer {number}", "total": number})

    def transaction(self, number: int, *, write: Callable[[Session, int], None], mail: bool) -> None:
        """What a view does, from its first statement to the end of its commit."""
        with self.app.app_context(), Session(self.engine) as session:
            self.app.extensions["session"] = session
            write(session, number)
            if mail:
                self.outbox.send_email(
                    f"reader{number}@example.org",
                    f"Order {number}",
                    "order",
                    name="Reader",
                    number=number,
                    items=ITEMS,
                    url=f"https://shop.example.com/orders/{number}",
                )
            session.commit()

    def rendered(self, number: int) -> None:
        """A transaction with one mail, whose text and HTML are there already, and nothing else."""
        with self.app.app_context(), Session(self.engine) as session:
            self.app.extensions["session"] = session
            self.outbox.enqueue(mails.own_message(number))
            session.commit()


def shop(database: Database) -> Shop:
    """The application on `database`, which has the outbox's tables."""
    app = Flask(__name__, template_folder=str(Path(__file__).resolve().parent / "templates"))
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.com", OUTBOX_DATABASE_URL=database.url)
    outbox = Outbox()
    outbox.init_app(app, session=lambda: app.extensions["session"])
    Base.metadata.create_all(database.engine)
    return Shop(app, outbox, database.engine)
