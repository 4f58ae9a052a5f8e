"""HTML mail as a relay gets it."""

from __future__ import annotations

import email
import email.policy
import socket
from email.message import EmailMessage
from pathlib import Path

import pytest
from jinja2 import DictLoader

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.wire.server import SmtpServer

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20_000
GIF = b"GIF89a" + b"1" * 300

TEMPLATE = """<!doctype html>
<html lang="de">
<head>
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="http://127.0.0.1:{port}/sheet.css">
<style>
@import url("http://127.0.0.1:{port}/more.css");
.preheader {{ display: none; }}
p {{ color: #1c2430; margin: 0 0 16px; }}
td, th {{ padding: 4px; }}
a:hover {{ text-decoration: underline; }}
@media (prefers-color-scheme: dark) {{ p {{ color: #e7ebf2; }} }}
@media (max-width: 480px) {{ table {{ width: 100%; }} }}
</style>
</head>
<body>
<div class="preheader">Ihre Bestellung ist unterwegs.</div>
<p><img src="{{{{ inline_image('logo.png') }}}}" alt="Der Laden">
<img src="{{{{ inline_image('truck.gif') }}}}" alt="Lieferung"></p>
<p>Schöne Grüße, {{{{ name }}}}! <a href="https://shop.example/o/7?a=1&amp;b=2">Zur Bestellung</a>,
<a href="mailto:hilfe@shop.example">Hilfe</a>.</p>
<table>
<tr><th>Artikel</th><th>Menge</th><th>Preis</th></tr>
<tr><td>Grüner Tee</td><td>2</td><td>12,50&nbsp;€</td></tr>
<tr><td>Tasse für Gäste</td><td>10</td><td>4,00&nbsp;€</td></tr>
</table>
</body>
</html>
"""


@pytest.mark.databases("sqlite")
def test_one_html_template_arrives_as_it_should_look(database: Database, make_stage: MakeStage, tmp_path: Path) -> None:
    """CSS inlined, what must stay kept, images beside the HTML, a text with each link and row, nothing loaded."""
    (tmp_path / "logo.png").write_bytes(PNG)
    (tmp_path / "truck.gif").write_bytes(GIF)
    with socket.create_server(("127.0.0.1", 0)) as sheets, SmtpServer() as server:
        stage = make_stage(database, server.port, OUTBOX_IMAGES_FOLDER=str(tmp_path))
        template = TEMPLATE.format(port=sheets.getsockname()[1])
        stage.app.jinja_loader = DictLoader({"mail/order.html": template})
        with stage.transaction() as session:
            stage.outbox.send_email("ann@example.org", "Ihre Bestellung", "mail/order", name="Jörg <3")
            session.commit()
        stage.fork()
        assert stage.settle() == {"sent": 1}
        (taken,) = server.messages
        sheets.settimeout(0)
        with pytest.raises(BlockingIOError):
            sheets.accept()
    mail = email.message_from_bytes(taken.content, EmailMessage, policy=email.policy.default)
    text, html, logo, truck = [part for part in mail.walk() if not part.is_multipart()]
    assert [part.get_content_type() for part in mail.walk() if part.is_multipart()] == [
        "multipart/alternative",
        "multipart/related",
    ]
    assert (logo.get_content(), truck.get_content()) == (PNG, GIF)

    source = html.get_content()
    assert '<p style="color: #1c2430;margin: 0 0 16px;">Schöne Grüße, Jörg &lt;3!' in source
    assert '<td style="padding: 4px;">Grüner Tee</td>' in source
    assert "@media (prefers-color-scheme: dark) { p { color: #e7ebf2 !important; } }" in source
    assert "@media (max-width: 480px)" in source
    assert "a:hover" in source
    for image in (logo, truck):
        assert f'src="cid:{image["Content-ID"][1:-1]}"' in source
        assert image["Content-ID"].endswith("@example.org>")

    assert text.get_content().strip().splitlines() == [
        "Der Laden Lieferung",
        "",
        "Schöne Grüße, Jörg <3! Zur Bestellung <https://shop.example/o/7?a=1&b=2>, Hilfe <mailto:hilfe@shop.example>.",
        "",
        "Artikel          Menge    Preis",
        "Grüner Tee           2  12,50\u00a0€",
        "Tasse für Gäste     10   4,00\u00a0€",
    ]
