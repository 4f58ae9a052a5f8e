"""What the extra `html` costs an enqueue: `python -m benchmarks.html`. Ratios of processor time, by turns.

One HTML template with a style block, dark mode, two inline images, a table and German text, enqueued by `send_email` in
a transaction on SQLite: as it is, with its CSS inlined, and with a style sheet at a dead address besides.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from jinja2 import DictLoader
from sqlalchemy.orm import Session

from outbox import Outbox
from outbox.models import Base
from outbox.store.databases.sqlite import configure_sqlite

TURNS, EACH = 15, 60
ROWS = "".join(f"<tr><td>Grüner Tee {n}</td><td>{n}</td><td>12,50&nbsp;€</td></tr>" for n in range(5))
REMOTE = '<link rel="stylesheet" href="http://192.0.2.1/dead.css">'  # TEST-NET-1 (RFC 5737)
TEMPLATE = """<!doctype html><html lang="de"><head><meta charset="utf-8">{remote}<style>
.preheader {{ display: none; }} body {{ margin: 0; background: #f2f4f7; }} .paper {{ background: #fff; padding: 32px; }}
h1 {{ font: bold 22px/30px Arial, sans-serif; }} p {{ color: #1c2430; margin: 0 0 16px; }} a {{ color: #2450c4; }}
td, th {{ padding: 4px; text-align: left; }} .button {{ padding: 12px 24px; color: #fff; }} a:hover {{ color: #000; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #12161d; }} p {{ color: #e7ebf2; }} }}
@media (max-width: 480px) {{ .paper {{ padding: 20px; }} }}</style></head><body>
<div class="preheader">Ihre Bestellung ist unterwegs.</div><div class="paper">
<img src="{{{{ inline_image('logo.png') }}}}" alt="Laden">
<img src="{{{{ inline_image('truck.png') }}}}" alt="Lieferung">
<h1>Schöne Grüße, {{{{ name }}}}</h1><p>Ihre Bestellung ist unterwegs. <a href="https://shop.example/o/7">Ansehen</a></p>
<table><tr><th>Artikel</th><th>Menge</th><th>Preis</th></tr>{rows}</table>
<p><a class="button" href="https://shop.example/o/7/track">Sendung verfolgen</a></p></div></body></html>"""


def made(folder: Path, name: str, inline: bool, remote: str = "") -> Any:
    """An application, and a function that enqueues one message and takes it back."""
    engine = sa.create_engine(f"sqlite:///{folder / name}.sqlite")
    configure_sqlite(engine, immediate=False)
    Base.metadata.create_all(engine)
    app, outbox = Flask(name), Outbox()
    app.config.update(
        MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_IMAGES_FOLDER=str(folder), OUTBOX_INLINE_CSS=inline
    )
    current: list[Session] = []
    outbox.init_app(app, session=lambda: current[0])
    app.jinja_loader = DictLoader({"mail/order.html": TEMPLATE.format(rows=ROWS, remote=remote)})

    def turn() -> float:
        """Seconds of the processor for each message."""
        with app.app_context(), Session(engine) as session:
            current[:] = [session]
            began = time.process_time()
            for _ in range(EACH):
                outbox.send_email("ann@example.org", "Ihre Bestellung", "mail/order", name="Jörg")
            spent = time.process_time() - began
            session.rollback()
        return spent / EACH

    return turn


def main() -> None:
    """Prints milliseconds of each and the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for image, size in (("logo", 12_000), ("truck", 9_000)):
            (folder / f"{image}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + image.encode() * (size // len(image)))
        turns = {
            "as it is": made(folder, "plain", inline=False),
            "CSS inlined": made(folder, "inlined", inline=True),
            "and a dead style sheet": made(folder, "dead", inline=True, remote=REMOTE),
        }
        spent: dict[str, list[float]] = {what: [] for what in turns}
        for number in range(TURNS + 1):
            for what, turn in turns.items():
                if number:
                    spent[what].append(turn())
                else:
                    turn()  # compiles the templates
    plain = statistics.median(spent["as it is"])
    for what, values in spent.items():
        median = statistics.median(values)
        print(f"{what:24} {1000 * median:.3f} ms  {median / plain:.2f} x")


if __name__ == "__main__":
    main()
