"""README.md: what it shows works as it stands there, followed to the letter."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from outbox import operations
from outbox.models import OutboxDelivery
from tests.servers.process import polled
from tests.wire.server import SmtpServer

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
SECTION = README.partition("## In your own application\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", SECTION, re.DOTALL)
(APP, SETTINGS, PAGES) = (text for kind, text in BLOCKS if kind == "python")
(INSTALL, COMMANDS) = (text for kind, text in BLOCKS if kind == "sh")
(CONFTEST, TEST) = re.findall(
    r"```python\n(.*?)```", README.partition("## In your tests\n")[2].partition("\n## ")[0], re.DOTALL
)


def commands(block: str) -> list[str]:
    """What is typed, without the remarks."""
    return [line.partition("#")[0].strip() for line in block.splitlines() if line.strip()]


def flask_mail() -> str:
    """The same application before: what stands behind "was", and no argument that Flask-Mail does not know."""
    return re.sub(r"^.*# was: (.*)$", r"\1", APP, flags=re.MULTILINE)


@contextmanager
def running(
    folder: Path, command: str, environ: dict[str, str], interpreter: str | Path = sys.executable
) -> Iterator[subprocess.Popen[str]]:
    program, *words = command.split()
    process = subprocess.Popen(
        [interpreter, "-m", program, *words],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_the_first_message(tmp_path: Path) -> None:
    """The four steps of the README, typed as they stand there, in an empty folder: a message is delivered."""
    (tmp_path / "app.py").write_text(APP)
    create, sender = commands(COMMANDS)
    with SmtpServer() as smtp:
        environ = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "MAIL_", "OUTBOX_"))
            },
            "FLASK_MAIL_PORT": str(smtp.port),
        }
        subprocess.run([sys.executable, "-m", *create.split()], cwd=tmp_path, env=environ, check=True, timeout=60)
        with running(tmp_path, "flask run --port 0", environ) as web:
            assert web.stdout is not None
            address = next(found[0] for line in web.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
            with running(tmp_path, sender, environ), polled("a message arrives", 60) as wait_a_little:
                with urllib.request.urlopen(f"{address}/register", data=b"email=ada@example.org") as answer:
                    assert answer.read() == b"Check your mail."
                while not smtp.messages:
                    wait_a_little()
        (mail,) = smtp.messages
    assert b"Good to see you." in mail.content


def test_how_much_it_is() -> None:
    """At most four steps and eight lines more than Flask-Mail: those that differ in the code, and those typed."""
    assert "Four steps: install, swap, create the tables, start a worker." in SECTION
    steps = [*commands(INSTALL), "swap", *commands(COMMANDS)]
    assert len(steps) == 4
    compile(flask_mail(), "before.py", "exec")
    changed = [line for line in difflib.ndiff(flask_mail().splitlines(), APP.splitlines()) if line.startswith("+ ")]
    assert len(changed) + len(commands(COMMANDS)) <= 8


def test_it_was_an_application_for_flask_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the swap it sends, at once: nothing but the swap is new in it."""
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path / 'shop.sqlite'}")
    with SmtpServer() as smtp:
        monkeypatch.setenv("FLASK_MAIL_PORT", str(smtp.port))
        names: dict[str, Any] = {"__name__": "before"}
        exec(compile(flask_mail(), "before.py", "exec"), names)
        assert names["app"].test_client().post("/register", data={"email": "ada@example.org"}).status_code == 200
        assert len(smtp.messages) == 1
    with names["app"].app_context():
        names["db"].engine.dispose()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The README's application, its tables made, in this process."""
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path / 'shop.sqlite'}")
    monkeypatch.setenv("FLASK_TESTING", "true")
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile(APP, "app.py", "exec"), names)
    app: Flask = names["app"]
    operations.create_tables(app.extensions["outbox"].database(app))
    with app.app_context():
        yield app
        names["db"].session.remove()
        names["db"].engine.dispose()
    app.extensions["outbox"].database(app).dispose()


def test_user_and_mail_or_neither(shop: Flask) -> None:
    """They are one transaction."""
    assert shop.test_client().post("/register", data={"email": "ada@example.com"}).status_code == 200
    session = shop.extensions["sqlalchemy"].session
    assert session.scalars(sa.text("SELECT email FROM user")).all() == ["ada@example.com"]
    assert session.scalars(sa.select(OutboxDelivery.recipient)).all() == ["ada@example.com"]


def test_the_install_line_names_what_the_first_block_imports() -> None:
    """Flask-SQLAlchemy is the application's own, and no dependency of the package."""
    assert "from flask_sqlalchemy import SQLAlchemy" in APP
    assert commands(INSTALL) == ["pip install . flask-sqlalchemy"]


def test_the_test_passes(tmp_path: Path) -> None:
    """That of "In your tests", with its fixtures, beside the application; twice, since each drops its tables."""
    again = TEST[TEST.index("def ") :].replace("test_a_registration", "test_once_more")
    files = {"app.py": APP, "conftest.py": CONFTEST, "test_shop.py": f"{TEST}\n\n{again}", "pytest.ini": "[pytest]\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "MAIL_", "OUTBOX_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert not list(tmp_path.rglob("*.sqlite"))


def test_the_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two lines puts the relay's name into the configuration."""
    monkeypatch.setenv("FLASK_MAIL_SERVER", "one.example.org")
    monkeypatch.setenv("MAIL_SERVER", "two.example.org")
    lines = [line for line in SETTINGS.splitlines() if line.strip()]
    assert len(lines) == 2
    for line, server in zip(lines, ("one.example.org", "two.example.org"), strict=True):
        app = Flask("readme")
        assert "MAIL_SERVER" not in app.config
        exec(f"import os\nfrom outbox import Settings\n{line}", {"app": app})
        assert app.config["MAIL_SERVER"] == server


def test_the_pages(shop: Flask) -> None:
    """They are there for whom `is_admin` lets in, with a name that does not collide."""
    shop.config["SECRET_KEY"] = "x"
    shop._got_first_request = False
    exec(PAGES, {"app": shop, "is_admin": lambda: True})
    assert shop.test_client().get("/admin/outbox/").status_code == 200


def test_nothing_is_called_outbox_but_the_package() -> None:
    """`outbox = Outbox()` and `import outbox.web` in one file would collide: the documents say `mail`."""
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").iterdir()]
    found = [
        path.name for path in documents if path.is_file() and re.search(r"\boutbox = \w*Outbox\(", path.read_text())
    ]
    assert found == []


def test_the_settings_exist_with_these_defaults() -> None:
    """Each OUTBOX_* of the table is one of the package's; the numbers are its defaults."""
    documented = (ROOT / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| `(OUTBOX_[A-Z_]+)` \| [^|]* \| ([^|]+) \|", README, re.MULTILINE)
    assert len(rows) >= 6
    for name, default in rows:
        told = re.search(rf"^\| `{name}` \| [^|]* \| ([^|]+) \|", documented, re.MULTILINE)
        assert told, name
        if default.strip().isdigit():
            assert told[1].strip().replace(",", "") == default.strip(), name
