"""What `outbox-check` says of webhooks that are half configured, and what is said without the extra."""

from __future__ import annotations

import json
import sys

import pytest

from tests.flask.terminal import Terminal
from tests.flask.webhooks import payloads as of
from tests.flask.webhooks.conftest import MakeHooks
from tests.flask.webhooks.signers import sendgrid, settings
from tests.servers.sns_server import TOPIC, SnsServer

MOUNTED = "    import outbox.web\n    app.register_blueprint(outbox.web.events_blueprint())\n"


def said(terminal: Terminal, *, mounted: bool = False, **env: str) -> list[tuple[bool | None, str]]:
    """Its findings about webhooks. The relay is not there, which is not looked at."""
    if mounted:
        source = (terminal.folder / "trial.py").read_text()
        (terminal.folder / "trial.py").write_text(source.replace("    return app", f"{MOUNTED}    return app"))
        found = json.loads(terminal.run("outbox-check", "--json", env=env).stdout)
    else:
        _, found = terminal.json("outbox-check", env=env)
    return [(one["ok"], f"{one['words']}. {one['remedy']}") for one in found["checks"] if one["check"] == "webhooks"]


def test_a_provider_that_reports_to_nobody(terminal: Terminal) -> None:
    """A hint, with the setting and what to register; none for a relay that reports nothing."""
    ((ok, words),) = said(terminal, OUTBOX_PRESET="ses", MAIL_SERVER="localhost")
    assert ok is None
    assert "mail goes by ses" in words
    assert "Set OUTBOX_SES_TOPICS. Register outbox.web.events_blueprint()" in words
    assert said(terminal, OUTBOX_PRESET="postfix", MAIL_SERVER="localhost") == []


def test_the_blueprint_without_the_setting(terminal: Terminal) -> None:
    """A hint; with both, nothing."""
    env = {"OUTBOX_PRESET": "mailgun", "MAIL_SERVER": "localhost"}
    ((ok, words),) = said(terminal, mounted=True, **env)
    assert (ok, words.endswith("Set OUTBOX_MAILGUN_SIGNING_KEY, see docs/webhooks.md.")) == (None, True)
    assert said(terminal, mounted=True, **env, OUTBOX_MAILGUN_SIGNING_KEY="x") == []


def test_the_setting_without_the_blueprint(terminal: Terminal) -> None:
    """A hint: another application may take them."""
    ((ok, words),) = said(terminal, OUTBOX_SES_TOPICS=TOPIC)
    assert ok is None
    assert "this application takes no webhooks" in words


def test_without_the_extra(
    terminal: Terminal,
    make_hooks: MakeHooks,
    sns: SnsServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fault that names it; a request is to be sent again, once it is installed."""
    hooks, request, message = make_hooks(), sendgrid(of.SENDGRID), sns.message(of.SES_BOUNCE)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    found = said(terminal, OUTBOX_SES_TOPICS=TOPIC, **{k: v for k, v in settings().items() if "MAILGUN" not in k})
    faults = [words for ok, words in found if ok is False]
    assert [words.split()[0] for words in faults] == ["OUTBOX_SES_TOPICS", "OUTBOX_SENDGRID_PUBLIC_KEY"]
    assert all("pip install 'flask-outbox[crypto]'" in words for words in faults)
    for provider, body in (("sendgrid", request), ("ses", message)):
        assert hooks.post(provider, body).status_code == 503
    assert caplog.text.count("flask-outbox[crypto]") == 2
    assert hooks.events() == []
    assert sns.requests == []
