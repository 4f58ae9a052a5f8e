"""README.md, "Moving from Flask-Mail": a book's application, ported by that section alone, loses nothing.

`microblog/` is such an application: a thread for each mail, Flask-Migrate, no commit after most of its mail, and the
versions of December 2023 in its `requirements.txt`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import required
from tests.flask.test_readme import running
from tests.servers.process import polled
from tests.wire.server import SmtpServer

HERE = Path(__file__).parent / "microblog"
ROOT = Path(__file__).resolve().parents[2]
PINS = "requirements.txt"

EDITS = {
    "app/__init__.py": [
        ("from flask_mail import Mail\n", ""),
        ("from config import Config\n", "import outbox.schema\nfrom config import Config\nfrom outbox import Outbox\n"),
        ("Migrate()", "Migrate(include_name=outbox.schema.include_name)"),
        ("Mail()", "Outbox()"),
        ("mail.init_app(app)", "mail.init_app(app, session=db)"),
    ],
    "app/email.py": [
        ("from threading import Thread\n\n", ""),
        ("def send_async_email(app, msg):\n    with app.app_context():\n        mail.send(msg)\n\n\n", ""),
        (
            "    Thread(target=send_async_email, args=(current_app._get_current_object(), msg)).start()\n",
            "    mail.send(msg)\n",
        ),
    ],
}
"""What the README says to change, by file."""


MIGRATION = r"""
flask_migrate.revision(message="outbox")
(made,) = pathlib.Path("migrations/versions").glob("*_outbox.py")
text = made.read_text()
for direction, call in (("upgrade", "upgrade(op, version=1)"), ("downgrade", "downgrade(op, version=0)")):
    text = re.sub(rf"(def {direction}\(\):.*?)pass", rf"\1outbox.schema.{call}", text, flags=re.DOTALL)
made.write_text("import outbox.schema\n" + text)
flask_migrate.upgrade()
flask_migrate.migrate(message="nothing")
assert not any("drop_table('outbox" in path.read_text() for path in made.parent.glob("*.py"))
"""
"""The README's three steps with Flask-Migrate, and the next migration, which finds nothing to do."""


FORGET = """
from app import db, models
db.session.execute(db.delete(models.User))
db.session.commit()
"""


class Microblog:
    """A copy of the application, and its commands."""

    def __init__(self, folder: Path, smtp: SmtpServer, interpreter: str | Path = sys.executable) -> None:
        self.interpreter = interpreter
        self.folder = shutil.copytree(HERE, folder / "microblog")
        ours = ("FLASK_", "MAIL_", "OUTBOX_")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "DATABASE_URL": f"sqlite:///{folder / 'app.db'}",
            "FLASK_APP": "microblog.py",
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": str(smtp.port),
        }
        self.python("flask_migrate.init(); flask_migrate.migrate(message='users'); flask_migrate.upgrade()")

    def python(self, code: str, *, context: bool = True) -> None:
        """Runs `code` beside the application, in its context: what several `flask db …` would, in one process."""
        if context:
            code = "with app.app_context():\n" + "\n".join(f"    {line}" for line in code.splitlines())
        code = f"import re, pathlib, flask_migrate\nfrom microblog import app\n{code}"
        done = subprocess.run(
            [self.interpreter, "-c", code],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr

    def port(self) -> list[str]:
        """Do as the README says; the files that were changed, without the pins."""
        for name, edits in EDITS.items():
            text = (self.folder / name).read_text()
            for old, new in edits:
                assert old in text
                text = text.replace(old, new)
            (self.folder / name).write_text(text)
        self.python(MIGRATION)
        return [
            name.relative_to(HERE).as_posix()
            for name in HERE.rglob("*.*")
            if name.is_file()
            and name.name != PINS
            and "__pycache__" not in name.parts
            and name.read_bytes() != (self.folder / name.relative_to(HERE)).read_bytes()
        ]


USE = """
client = app.test_client()
for path in ("/register", "/reset_password_request"):
    assert client.post(path, data={"username": "ann", "email": "ann@example.org"}).status_code == 302
result = app.test_cli_runner().invoke(args=["export-posts"])
assert result.exit_code == 0, result.output
"""


@pytest.mark.long  # four processes, as whoever ports it starts them
@pytest.mark.timeout(600)
def test_the_port_of_a_book_s_application(tmp_path: Path) -> None:
    """At most three changed files beside the migration; with the defaults every mail arrives, and none of the next
    migrations drops it."""
    with SmtpServer() as smtp:
        _ported(Microblog(tmp_path, smtp), smtp)


@pytest.mark.network
@pytest.mark.long  # an environment of its own
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="some versions of December 2023 can't be installed there")
def test_the_port_with_the_versions_of_its_day(tmp_path: Path) -> None:
    """The same beside Flask-Mail 0.9.1, which sends what the application sends before it is ported; of its pins only
    that one changes, and nothing else of them is moved."""
    pins = (HERE / PINS).read_text().splitlines()
    python = _environment(tmp_path / "venv", pins)
    before = _versions(python)
    with SmtpServer() as smtp:
        blog = Microblog(tmp_path, smtp, python)
        blog.python(USE, context=False)
        assert _arrived(smtp)
    blog.python(FORGET)
    refused = _pip(python, "Flask-Mail==0.9.1", _source(tmp_path))  # with all pins an older pip tries for minutes
    assert "ResolutionImpossible" in refused.stderr  # and says of whom; the README says what to do
    done = _pip(
        python, *("Flask-Mail==0.10.0" if pin == "Flask-Mail==0.9.1" else pin for pin in pins), _source(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    after = _versions(python)
    assert {name: after[name] for name in before if after[name] != before[name]} == {"Flask-Mail": "0.10.0"}
    with SmtpServer() as smtp:
        blog.environ["MAIL_PORT"] = str(smtp.port)
        _ported(blog, smtp)


def _ported(blog: Microblog, smtp: SmtpServer) -> None:
    assert len(blog.port()) <= 3
    blog.python(USE, context=False)
    with (
        running(blog.folder, "flask outbox-sender", blog.environ, blog.interpreter),
        polled("the mail", 200) as wait_a_little,
    ):
        while len(smtp.messages) < 3:
            wait_a_little()
    assert _arrived(smtp)


def _arrived(smtp: SmtpServer) -> bool:
    """Whether each mail of USE did, once."""
    said = b"".join(message.content for message in smtp.messages)
    return len(smtp.messages) == 3 and all(
        words in said for words in (b"Welcome", b"Reset Your Password", b"Your blog posts")
    )


def _environment(folder: Path, pins: Iterable[str]) -> Path:
    """The Python of a new environment with these packages; without a package index the test is skipped."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=200)
    python = folder / "bin" / "python"
    done = _pip(python, *pins)
    if done.returncode and required("network"):
        pytest.fail(f"a package index is required (OUTBOX_TEST_REQUIRE): {done.stderr}", pytrace=False)
    if done.returncode:
        pytest.skip(f"pip could not install the pins: {done.stderr.strip().splitlines()[-1]}")
    return python


def _pip(python: Path, *packages: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *packages]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


def _versions(python: Path) -> dict[str, str]:
    command = [python, "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=200).stdout)
    return {package["name"]: package["version"] for package in listed}


def _source(folder: Path) -> str:
    """ "A copy of this repository", as the README has it; what pip builds is left in there."""
    copy = folder / "flask-outbox"
    if not copy.exists():
        shutil.copytree(ROOT / "outbox", copy / "outbox", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        (copy / "docs").mkdir()
        shutil.copy(ROOT / "docs" / "outbox.1", copy / "docs")  # the manual page is installed, too
    return str(copy)
