"""The pages of docs/ are run, block by block, or say why not; files are checked by the tools that read them."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outbox import Outbox, Settings, operations
from outbox.cli import commands
from outbox.delivery.retry import RetryPolicy
from tests.flask.pages import DOCS, Block, blocks, stage
from tests.servers.databases import Database
from tests.servers.promtool import promtool

PAGES = sorted(path.name for path in DOCS.glob("*.md"))
RUN = ("python", "console")
CHECKED = ("ini", "yaml", "json", "sql")
SHOWN = ("", "jinja", "html", "text")  # what something prints, and templates, which the blocks after them use

PREPARED = {
    "admin.md": """
from flask_login import LoginManager
login_manager = LoginManager(app)
""",
    "encryption.md": """
from outbox.message.keyring import new_key
app.config["OUTBOX_ENCRYPTION_KEYS"] = new_key()
mail.init_app(app, session=db)
""",
    "batches.md": """
(folder / "templates" / "mail").mkdir(parents=True, exist_ok=True)
(folder / "templates" / "mail" / "newsletter.txt").write_text("Dear {{ user.name }}, this is new.")
with app.app_context():
    db.create_all()
    db.session.add_all([User(email=f"{name}@example.org", name=name) for name in ("ann", "bob", "cora")])
    db.session.commit()
""",
    "handlers.md": """
@app.post("/register")
def register():
    db.session.add(user := User(email=request.form["email"], bounced=False))
    mail.send(Message("Confirm your account", [user.email], "Open http://shop.example/confirm/1"))
    db.session.commit()
    return ""

def by_email(email):
    with app.app_context():
        return db.session.scalars(db.select(User).filter_by(email=email)).first()

User.by_email = by_email
""",
    "html.md": """
(folder / "static").mkdir()
(folder / "static" / "logo.png").write_bytes(b"\\x89PNG\\r\\n\\x1a\\n")
""",
    "dkim.md": "app",
    "logging.md": """
class statsd:
    counted = []
    increment = counted.append
""",
    "not-sent.md": """
mail.send(Message("Welcome", ["ann@example.org"], "Good to see you."))
db.session.commit()
""",
    "rates.md": """
from tests.db.mails import slow
with app.app_context():
    slow(db.engine, "ses")
""",
    "signing.md": """
import trustme
certificate = trustme.CA().issue_cert("shop@example.org")
certificate.private_key_pem.write_to_path("shop.key")
certificate.cert_chain_pems[0].write_to_path("shop.crt")
content = b"From: shop@example.org\\r\\nSubject: Hello\\r\\n\\r\\nHello.\\r\\n"
""",
    "testing.md": """
from outbox import delivery_failed

@app.post("/register")
def register():
    db.session.add(user := User(email=request.form["email"], bounced=False))
    mail.send(Message("Confirm your account", [user.email], "Open http://shop.example/confirm/1"))
    db.session.commit()
    return ""

@delivery_failed.connect_via(app)
def gone(app, *, recipient, **more):
    db.session.execute(db.update(User).filter_by(email=recipient).values(bounced=True))
    db.session.commit()

def by_email(email):
    with app.app_context():
        return db.session.scalars(db.select(User).filter_by(email=email)).first()

User.by_email = by_email
""",
    "unsubscribe.md": """
from flask_login import LoginManager, UserMixin

login_manager = LoginManager(app)

@login_manager.request_loader
def ann(request):
    user = UserMixin()
    user.email = "ann@example.org"
    return user
""",
    "webhooks.md": """
app.config["OUTBOX_POSTMARK_CREDENTIALS"] = "hooks:correct-horse"
mail.init_app(app, session=db)
""",
}
"""What a page takes for granted of its reader's application."""


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first block to its last, as a reader would."""
    found = blocks(page)
    for block in found:
        assert block.language in RUN + CHECKED + SHOWN, f"{block}: {block.language} is neither run nor checked"
        if block.reason is not None:
            block.why_not()
    if page == "tracing.md":  # a provider can be set once in a process, and is to be gone after this page
        from opentelemetry.util._once import Once

        monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", None)
        monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER_SET_ONCE", Once())
    with stage(tmp_path, monkeypatch) as made:
        if page in PREPARED:
            made.play(Block(page, 0, "python", PREPARED[page], None))
        for block in found:
            if block.reason is None and block.language not in CHECKED:
                made.play(block)


def test_what_the_page_on_dkim_sends_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By both keys that it makes."""
    with stage(tmp_path, monkeypatch) as made:
        assert made.app  # with its tables
        for block in blocks("dkim.md"):
            if block.language in RUN:
                made.play(block)
        head = made.smtp.messages[0].content.partition(b"\r\n\r\n")[0]
        assert [part.split(b"; ")[1] for part in head.split(b"DKIM-Signature:")[1:]] == [
            b"a=rsa-sha256",
            b"a=ed25519-sha256",
        ]


CHECKED_BLOCKS = [block for page in PAGES for block in blocks(page) if block.language in CHECKED]
CONFIGURATION = [block for block in CHECKED_BLOCKS if block.language != "sql"]


@pytest.mark.databases("postgresql")
def test_statements_that_pages_show_run(empty_database: Database) -> None:
    """On tables of the outbox; those that ask have an answer."""
    operations.create_tables(empty_database.engine)
    with empty_database.engine.begin() as connection:
        for block in CHECKED_BLOCKS:
            if block.language == "sql":
                for statement in filter(None, map(str.strip, block.text.split(";"))):
                    done = connection.exec_driver_sql(statement)
                    assert not done.returns_rows or done.all(), f"{block}: {statement}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_are_understood(page: str) -> None:
    """By their own parsers: names, options and how many words; an ID is a number."""
    for words in re.findall(r"`(?:flask )?(outbox-[a-z-]+(?: [^`…<]+)?)`", (DOCS / page).read_text()):
        name, *rest = shlex.split(words)
        if name in commands.ALL and rest:
            commands.ALL[name].make_context(name, ["1" if word == "ID" else word for word in rest])


@pytest.mark.parametrize("block", CONFIGURATION, ids=str)
def test_what_a_page_shows_of_files_is_valid(block: Block, tmp_path: Path) -> None:
    """By the program that reads them."""
    if block.language == "json":
        json.loads(block.text)
    elif block.file is not None and block.file.endswith(".service"):
        _unit(block, tmp_path)
    elif block.language == "yaml":
        (tmp_path / "prometheus.yml").write_text(block.text)
        promtool("check", "config", str(tmp_path / "prometheus.yml"))
    else:
        raise AssertionError(f"{block}: nothing checks it")


def _unit(block: Block, folder: Path) -> None:
    """systemd knows all that it says; the program and the user that it names are not on this machine."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        if "all" in os.environ.get("OUTBOX_TEST_REQUIRE", ""):
            pytest.fail("systemd-analyze is required (OUTBOX_TEST_REQUIRE): not installed", pytrace=False)
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    assert block.file is not None
    unit = folder / Path(block.file).name
    unit.write_text(re.sub(r"^(Exec\w+=)\S+", rf"\1{sys.executable}", block.text, flags=re.MULTILINE))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, ours) == (0, [])


def test_all_options_of_enqueue_are_there() -> None:
    """Each parameter has a row, with the default that the signature has."""
    parameters = list(inspect.signature(Outbox.enqueue).parameters.values())[2:]
    rows = dict(re.findall(r"^\| `(\w+)` \| .+? \| (.+?) \| ", (DOCS / "enqueue.md").read_text(), re.MULTILINE))
    assert list(rows) == [parameter.name for parameter in parameters]
    for parameter in parameters:
        if parameter.default is not None:
            assert rows[parameter.name] == f'`"{parameter.default}"`'


def test_the_timetable_of_retries_is_that_of_the_settings() -> None:
    """Computed by the policy from the defaults, without the random part."""
    settings = Settings.from_config({})
    policy = RetryPolicy(settings.retry_first_seconds, settings.retry_max_seconds, settings.max_attempts)
    rows, since = ["| 1 | | 0 |"], 0.0
    for attempt in range(2, policy.attempts + 1):
        wait = policy.backoff(attempt - 1, chance=0.5)
        since += wait
        assert since < settings.max_age_seconds
        if attempt <= 10 or attempt == policy.attempts:
            rows.append(f"| {attempt} | {_duration(wait)} | {_duration(since)} |")
    table = (DOCS / "retries.md").read_text().partition("<!-- timetable -->")[2].partition("<!-- /timetable -->")[0]
    assert table.split("--:|\n")[-1].splitlines() == rows


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)
