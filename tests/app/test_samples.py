"""The samples of the application's mail: all of it, without a warning, and fit for a narrow screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from outbox.cli import chromium
from outbox.extension.previews import make
from outbox.extension.state import bound_to
from outbox.message.preview import preview
from outbox.message.schemes import has_dark_mode, in_scheme
from tests.web.chromium import found

TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "mail"


@pytest.fixture
def made(tmp_path: Path) -> Flask:
    settings = {"SECRET_KEY": "for tests", "DATABASE_URL": "sqlite://", "APP_ENV": "development"}
    return create_app(settings, environ={}, instance_path=str(tmp_path))


def html(app: Flask) -> Iterator[tuple[str, str]]:
    """The HTML of each sample that has some."""
    bound = bound_to(app)
    for sample in bound.kinds.samples:
        content = preview(make(bound, sample).wire, inline_images=True).html
        if content is not None:
            yield sample.id, content


def test_all_mail_has_a_sample(made: Flask) -> None:
    """Each template of a message is in one of them, with a dark mode, and without a warning."""
    bound = bound_to(made)
    assert {one.kind for one in bound.kinds.samples} == {one.name for one in bound.kinds}
    titles = {preview(make(bound, one).wire).html or "" for one in bound.kinds.samples}
    own = [one for one in TEMPLATES.glob("*.html") if one.stem not in ("layout", "_parts")]
    assert len({title.partition("<title>")[2].partition("<")[0] for title in titles}) >= len(own)
    for sample in bound.kinds.samples:
        assert make(bound, sample).findings() == [], sample.id
    assert all(has_dark_mode(content) for _, content in html(made))


@pytest.mark.skipif(found() is None, reason="chromium is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_mail_fits_a_narrow_screen(made: Flask, scheme: str) -> None:
    """At 320 pixels nothing is cut off, with long names and addresses too."""
    with chromium.browser() as browser:
        wide = {}
        for id, content in html(made):
            picture = browser.picture(in_scheme(content, scheme), 320, scheme)
            wide[id] = int.from_bytes(picture[16:20], "big")
    assert {id: width for id, width in wide.items() if width > 320} == {}
    assert len(wide) >= 9


def test_the_gallery_is_for_administrators_outside_development(tmp_path: Path) -> None:
    """Others are sent to the log-in page, to send a sample as well; in development it is open."""
    settings = {"SECRET_KEY": "for tests, and long enough for production", "DATABASE_URL": "sqlite://"}
    for environment, expected in (("development", 200), ("production", 302)):
        app = create_app(
            settings | {"APP_ENV": environment, "FLASKY_BASE_URL": "https://shop.example", "WTF_CSRF_ENABLED": False},
            environ={},
            instance_path=str(tmp_path / environment),
        )
        client = app.test_client()
        for path in ("/", "/confirm/new-user", "/confirm/new-user/html", "/confirm/new-user/source"):
            answer = client.get(f"/admin/previews{path}", base_url="https://shop.example")
            assert (path, answer.status_code) == (path, expected)
        sent = client.post(
            "/admin/previews/confirm/new-user/send", base_url="https://shop.example", data={"to": "a@b.c"}
        )
        assert sent.status_code == (400 if environment == "development" else 302)
