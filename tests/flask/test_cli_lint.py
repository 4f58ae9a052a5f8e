"""`outbox-lint` and `outbox-mjml`, and what a developer is told when a message is composed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo
from jinja2 import DictLoader, Environment
from sqlalchemy.orm import Session, scoped_session

from outbox import Message, Outbox
from outbox.cli.lint import lint as lint_command
from outbox.cli.mjml import mjml
from outbox.models import OutboxAudit
from tests.flask.conftest import Committed
from tests.flask.terminal import runner

MakeApp = Callable[..., Flask]
Db = scoped_session[Session]

BAD = '<p>Hello <img src="https://x.org/a.png"> <a href="http://x.org/{{ 1 + 1 }}">a</a> <a href="http://x.org/b">b</a></p>'


def typed(app: Flask, *words: str) -> Result:
    return runner().invoke(lint_command, words, obj=ScriptInfo(create_app=lambda: app))


def lint(app: Flask, *words: str) -> Any:
    """The exit code and what `--json` printed."""
    done = typed(app, *words, "--json")
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app()
    app.jinja_loader = DictLoader(
        {"mail/a.html": BAD, "mail/b.html": "<p>x</p>", "page.html": "<img src=x>", "a.txt": "x"}
    )
    return app


def test_the_applications_own_templates(app: Flask) -> None:
    """Those of mail, and not its pages; 1 where anything is found."""
    code, said = lint(app)
    assert (code, said["checked"]) == (1, 2)
    assert [(one["in"], one["check"]) for one in said["findings"]] == [
        ("mail/a.html", "no-alt"),
        ("mail/a.html", "http-link"),
    ]
    app.jinja_loader = DictLoader({"emails/b.html": "<p>x</p>"})
    assert lint(app) == (0, {"checked": 1, "findings": []})


def test_samples(app: Flask, outbox: Outbox) -> None:
    """All of them in all their languages; one that can't be made is found, too."""
    kind = outbox.kind("order")
    kind.preview("good")(lambda: Message("Order", ["ann@example.org"], "x"))
    kind.preview("bad", locales=["en", "de"])(lambda locale: Message("Order", ["ann@gmial.com"], f"x {locale}"))
    kind.preview("broken")(lambda: 1 / 0)
    app.jinja_loader = DictLoader({})
    code, said = lint(app)
    assert (code, said["checked"]) == (1, 4)
    assert [(one["in"], one["check"]) for one in said["findings"]] == [
        ("sample order/bad in en", "address"),
        ("sample order/bad in de", "address"),
        ("sample order/broken", "sample-fails"),
    ]


def test_files_and_folders(app: Flask, tmp_path: Path) -> None:
    """Templates and messages; what can't be read is a failure."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.html").write_text(BAD)
    (tmp_path / "x" / "b.eml").write_bytes(b"From: None <a@gmial.com>\r\n\r\nx")
    code, said = lint(app, str(tmp_path))
    assert (code, [one["check"] for one in said["findings"]]) == (1, ["no-alt", "http-link", "address", "name"])
    assert lint(app, str(tmp_path / "x" / "a.html"))[1]["checked"] == 1
    (tmp_path / "x" / "c.html").write_bytes(b"\xff")
    code, said = lint(app, str(tmp_path))
    assert (code, "can't be read" in said["error"]) == (2, True)


def test_stored_messages(app: Flask, outbox: Outbox, db: Db, engine: sa.Engine) -> None:
    """The newest, or one by its delivery; who read them is in the audit."""
    with app.app_context():
        for html in ("<div hidden>About</div>x", BAD):
            outbox.send(Message("Order", ["ann@example.org"], html=html))
            db.commit()
    code, said = lint(app, "--last", "5")
    assert (code, said["checked"]) == (1, 2)
    assert {one["in"] for one in said["findings"]} == {"delivery 2, Order"}
    assert {one["check"] for one in said["findings"]} == {"no-preheader", "no-alt", "http-link", "placeholder"}
    assert lint(app, "--last", "1")[1]["checked"] == 1
    assert lint(app, "--id", "1")[0] == 0
    assert lint(app, "--id", "77")[0] == 2
    assert lint(app, "--last", "5", "--environment", "other")[1] == {"checked": 0, "findings": []}
    with engine.connect() as connection:
        assert connection.scalars(sa.select(OutboxAudit.action)).all() == ["read", "read"]


def test_what_people_read(app: Flask) -> None:
    """A line for each, with its remedy."""
    done = typed(app)
    assert done.exit_code == 1
    assert "mail/a.html\n  no-alt: the image https://x.org/a.png has no alt text" in done.stdout
    assert "2 checked, 2 found." in done.stderr


class TestInDevelopment:
    """What the log says when a message is composed."""

    def remarks(self, app: Flask, outbox: Outbox, caplog: pytest.LogCaptureFixture, **fields: Any) -> list[str]:
        """The lines of three messages like these."""
        with app.app_context(), caplog.at_level(logging.WARNING, "outbox.lint"):
            for number in range(3):
                html = f'<p>Hello</p><a href="http://x.org/{number}">a</a>'
                outbox.send(Message("Order", ["ann@gmial.com"], html=html, **fields))
        return [record.getMessage() for record in caplog.records if record.name == "outbox.lint"]

    def test_each_is_said_once(self, app: Flask, outbox: Outbox, db: Db, caplog: pytest.LogCaptureFixture) -> None:
        """And not again for each link with a token of its own; the messages are enqueued all the same."""
        app.debug = True
        said = self.remarks(app, outbox, caplog)
        assert [line.partition(":")[0] for line in said] == ["message 'Order'"] * 3
        assert "ann@gmial.com looks like a slip of gmail.com" in said[0]
        db.commit()

    def test_never_in_production(self, app: Flask, outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
        """Where `debug` is off."""
        assert self.remarks(app, outbox, caplog) == []

    def test_never_an_error(
        self,
        app: Flask,
        outbox: Outbox,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        db: Db,
        committed: Committed,
    ) -> None:
        """Whatever goes wrong in the checks."""

        def broken(*args: Any) -> None:
            raise RecursionError

        monkeypatch.setattr("outbox.extension.development.of_message", broken)
        app.debug = True
        assert self.remarks(app, outbox, caplog) == []
        db.commit()
        assert len(committed.messages()) == 3


MJML = """<mjml>
  <mj-head><mj-preview>{{ about }}</mj-preview></mj-head>
  <mj-body>
    <mj-include path="./parts/_head.mjml" />
    {% for item in items if item < 3 %}
    <mj-section><mj-column>
      <mj-text>Grüße, {{ name|replace("<", "&") }} &amp; {{ item }} {# a < b #}</mj-text>
      <mj-button href="{{ link("a") }}">Open</mj-button>
    </mj-column></mj-section>
    {% endfor %}
  </mj-body>
</mjml>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """MJML with a part."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "_head.mjml").write_text(
        "<mj-section><mj-column><mj-text>Shop {{ shop }}</mj-text></mj-column></mj-section>"
    )
    (tmp_path / "welcome.mjml").write_text(MJML)
    return tmp_path


def compile(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(mjml, [str(word) for word in words])
    return done.exit_code, done.output


class TestMjml:
    """Compiled when the application is built."""

    pytestmark = [pytest.mark.skipif(not pytest.importorskip("mrml"), reason="mrml is not installed")]

    def test_it_becomes_a_template(self, folder: Path) -> None:
        """Jinja's braces as they were, also where they are no XML; with a note to whoever opens it."""
        assert compile(folder)[0] == 0
        assert [path.name for path in folder.rglob("*.html")] == ["welcome.html"]
        source = (folder / "welcome.html").read_text()
        assert source.startswith("{#- Made of welcome.mjml by outbox-mjml")
        for kept in (
            "{{ about }}",
            '{{ name|replace("<", "&") }}',
            '<a href="{{ link("a") }}"',
            "{% endfor %}",
            "{{ shop }}",
        ):
            assert kept in source
        values = {
            "about": "A",
            "shop": "S",
            "name": "N",
            "items": [1, 2, 3],
            "link": lambda word: f"https://x.org/{word}",
        }
        html = Environment(autoescape=True).from_string(source).render(values)
        assert html.lstrip().startswith("<!doctype html>")
        assert html.count("Grüße, N &amp; ") == 2
        assert html.count('href="https://x.org/a"') == 2
        assert "Shop S" in html

    def test_check_says_what_is_old(self, folder: Path) -> None:
        """For CI; it writes nothing."""
        code, said = compile("--check", folder)
        assert (code, "Not up to date" in said) == (1, True)
        assert not (folder / "welcome.html").exists()
        compile(folder)
        assert compile("--check", folder)[0] == 0
        (folder / "parts" / "_head.mjml").write_text("<mj-section></mj-section>")
        assert compile("--check", folder / "welcome.mjml")[0] == 1

    @pytest.mark.parametrize(
        "source", ["<mjml>", "x", "", "<mjml><mj-body><mj-include path='none.mjml' /></mj-body></mjml>"]
    )
    def test_what_is_not_mjml_is_a_failure(self, folder: Path, source: str) -> None:
        """With the file's name; the old template stays."""
        (folder / "welcome.html").write_text("old")
        (folder / "welcome.mjml").write_text(source)
        code, said = compile(folder)
        assert (code, "welcome.mjml is not MJML" in said) == (2, True)
        assert (folder / "welcome.html").read_text() == "old"

    def test_without_mrml(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It says what to install, and where."""
        monkeypatch.setitem(__import__("sys").modules, "mrml", None)
        code, said = compile(folder)
        assert (code, "pip install mrml" in said) == (2, True)
