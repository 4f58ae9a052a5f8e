"""`outbox-preview`: the list, the files, the pictures, and what it says where something is missing."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from flask.cli import ScriptInfo

from outbox import Message, Outbox
from outbox.cli.preview import preview
from tests.flask.terminal import runner
from tests.web.chromium import found

MakeApp = Callable[..., Flask]

DARK = "<style>@media (prefers-color-scheme: dark) { body { background: #000000 } }</style>"
HTML = f"<div hidden>About</div>{DARK}<script>document.body.innerHTML = ''</script><p style='height:600px'>Hello</p>"


@pytest.fixture
def app(make_app: MakeApp, outbox: Outbox) -> Flask:
    app = make_app()
    reset, order = outbox.kind("reset"), outbox.kind("order")
    order.preview("long", locales=["en", "de"])(
        lambda locale: Message(f"Order {locale}", ["ann@example.org"], html=HTML)
    )
    reset.preview("one")(lambda: Message("Reset", ["ann@gmial.com"], "x"))
    return app


def typed(app: Flask, *words: str) -> Result:
    return runner().invoke(preview, words, obj=ScriptInfo(create_app=lambda: app))


def test_the_list(app: Flask) -> None:
    """With languages, size and warnings; a kind, a sample or a language narrow it."""
    said = typed(app).stdout
    assert [line.split()[:2] for line in said.splitlines()] == [
        ["SAMPLE", "LANGUAGE"],
        ["order/long", "en"],
        ["order/long", "de"],
        ["reset/one", "-"],
    ]
    samples = json.loads(typed(app, "--json", "reset").stdout)["samples"]
    assert [(one["sample"], one["html_bytes"], [w["check"] for w in one["warnings"]]) for one in samples] == [
        ("reset/one", None, ["address"])
    ]
    assert len(json.loads(typed(app, "--json", "--locale", "DE").stdout)["samples"]) == 1


def test_what_can_not_be_done(make_app: MakeApp, app: Flask, outbox: Outbox, tmp_path: Path) -> None:
    """No sample at all, one that does not exist, one that fails, pictures without a folder."""
    assert "There is no sample or kind 'nothing'" in typed(app, "nothing").stderr
    assert "No sample is made in the language 'fr'" in typed(app, "--locale", "fr").stderr
    assert "--screenshots needs --to" in typed(app, "--screenshots").stderr
    outbox.kind("broken").preview("one")(lambda: 1 / 0)
    done = typed(app, "--to", str(tmp_path))
    assert (done.exit_code, "broken/one can't be made: ZeroDivisionError" in done.stderr) == (1, True)
    assert len(list(tmp_path.iterdir())) == 5


def test_files(app: Flask, tmp_path: Path) -> None:
    """The exact bytes, and the HTML."""
    assert typed(app, "order", "--to", str(tmp_path / "new")).exit_code == 0
    names = ["order-long-de.eml", "order-long-de.html", "order-long-en.eml", "order-long-en.html"]
    assert sorted(one.name for one in (tmp_path / "new").iterdir()) == names
    assert message_from_bytes((tmp_path / "new" / names[0]).read_bytes())["Subject"] == "Order de"


def test_pictures_need_a_browser(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said, with the remedy, before anything is written."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = typed(app, "--to", str(tmp_path / "new"), "--screenshots")
    assert (done.exit_code, "apt install chromium" in " ".join(done.stderr.split())) == (2, True)
    assert not (tmp_path / "new").exists()
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    assert "CHROMIUM names /nowhere/chromium" in typed(app, "--to", str(tmp_path), "--screenshots").stderr


@pytest.mark.skipif(found() is None, reason="chromium is not installed")
def test_pictures(app: Flask, tmp_path: Path) -> None:
    """Wide and narrow, as high as the message, dark where it is dark; without running its script."""
    done = typed(app, "order/long", "--locale", "en", "--to", str(tmp_path), "--screenshots")
    assert done.exit_code == 0, done.stderr
    sizes = {}
    for ending in ("wide", "narrow", "wide-dark", "narrow-dark"):
        png = (tmp_path / f"order-long-en-{ending}.png").read_bytes()
        assert png.startswith(b"\x89PNG")
        sizes[ending] = struct.unpack(">II", png[16:24])
    assert {ending: width for ending, (width, _) in sizes.items()} == {
        "wide": 700,
        "narrow": 320,
        "wide-dark": 700,
        "narrow-dark": 320,
    }
    assert all(height >= 600 for _, height in sizes.values())
    light, dark = ((tmp_path / f"order-long-en-{one}.png").read_bytes() for one in ("narrow", "narrow-dark"))
    assert light != dark
