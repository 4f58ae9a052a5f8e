"""README.md, "Moving from Flask-Mail": a book's application, ported by that section alone, loses nothing.

`microblog/` is such an application: a thread for each mail, Flask-Migrate, no commit after most of its mail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flask.test_readme import running
from tests.servers.process import polled
from tests.wire.server import SmtpServer

HERE = Path(__file__).parent / "microblog"

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


class Microblog:
    """A copy of the application, and its commands."""

    def __init__(self, folder: Path, smtp: SmtpServer) -> None:
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
            [sys.executable, "-c", code], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr

    def port(self) -> list[str]:
        """Do as the README says; the files that were changed."""
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


@pytest.mark.slow  # four processes, as whoever ports it starts them
@pytest.mark.timeout(600)
def test_the_port_of_a_book_s_application(tmp_path: Path) -> None:
    """At most three changed files beside the migration; with the defaults every mail arrives, and none of the next
    migrations drops it."""
    with SmtpServer() as smtp:
        blog = Microblog(tmp_path, smtp)
        assert len(blog.port()) <= 3
        blog.python(USE, context=False)
        with running(blog.folder, "flask outbox-sender", blog.environ), polled("the mail", 200) as wait_a_little:
            while len(smtp.messages) < 3:
                wait_a_little()
        said = b"".join(message.content for message in smtp.messages)
    assert all(words in said for words in (b"Welcome", b"Reset Your Password", b"Your blog posts"))
