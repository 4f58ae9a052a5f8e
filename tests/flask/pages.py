"""The pages of the documentation as something to run: their blocks, and the stage on which a page's blocks act."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import logging
import re
import shlex
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask
from flask.cli import ScriptInfo

import outbox.schema
from outbox.cli import commands
from outbox.testing import Mailbox
from tests.flask.terminal import runner
from tests.wire.server import SmtpServer

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_FILE = re.compile(r"(?:#|\{#|<!--) ([\w/.-]+\.\w+)(?: -?#\}| -->)?$")

SHOP = """
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask, render_template, request
from flask_sqlalchemy import SQLAlchemy

from outbox import Message, Outbox

app = Flask("shop", root_path=str(folder))
app.config.update(config)
db = SQLAlchemy(app)
mail = Outbox(app, session=db)


class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.String(100))
    name = db.Column(db.String(100))
    bounced = db.Column(db.Boolean, default=False)
"""
"""What pages that make no application of their own start from, as readers do who followed the first."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None  # why it is not run

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that its first line names."""
        named = _FILE.match(self.text.partition("\n")[0])
        return named[1] if named else None

    def commands(self) -> list[tuple[str, str]]:
        """What is typed after each `$`, and what is shown below it."""
        found: list[tuple[str, str]] = []
        for entry in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            typed, _, shown = entry.replace("\\\n", " ").partition("\n")
            found.append((typed, shown))
        return found

    def why_not(self) -> None:
        """Fails where the reason is not true: "needs X", which is not to be had here, or "run by PATH"."""
        assert self.reason is not None
        what, _, name = self.reason.rpartition(" ")
        if self.language == "python":
            compile(self.text, str(self), "exec")
        if what == "run by":
            assert (ROOT / name).is_file(), f"{self}: {name} does not exist"
        elif what == "needs" and self.language == "python":
            imported = {
                node.module or "" for node in ast.walk(ast.parse(self.text)) if isinstance(node, ast.ImportFrom)
            }
            assert any(module.split(".")[0] == name for module in imported), f"{self} does not import {name}"
            assert importlib.util.find_spec(name) is None, f"{self}: {name} is installed"
        elif what == "needs" and self.language == "console":
            programs = {typed.split()[0] for typed, _ in self.commands()}
            assert programs == {name}, f"{self} runs {programs}"
            assert name not in ("flask", "python"), f"{self}: {name} can be run"
        else:
            raise AssertionError(f"{self}: {self.reason!r} is not a reason: write `needs X` or `run by PATH`")


def blocks(page: str) -> list[Block]:
    """All of a page, in order."""
    text = (DOCS / page).read_text()
    found = []
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start("text"))
        found.append(Block(page, line, fence["language"], fence["text"], fence["reason"]))
    fences = len(re.findall(r"^ *```", text, re.MULTILINE))
    assert fences == 2 * len(found), f"{page}: a block is indented or not closed"
    return found


class Stage:
    """A folder, a relay, and the application that a page's blocks work on."""

    def __init__(self, folder: Path, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.smtp = smtp
        self.names: dict[str, Any] = {}
        self._patch = monkeypatch
        self._made: list[types.ModuleType] = []
        self._config = {
            "TESTING": True,
            "SECRET_KEY": "x",
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder / 'shop.sqlite'}",
            "MAIL_DEFAULT_SENDER": "shop@example.org",
            "MAIL_PORT": smtp.port,
            "MAIL_SUPPRESS_SEND": False,
            "OUTBOX_POLL_SECONDS": 0.05,
        }
        monkeypatch.setenv("METRICS_TOKEN", "secret")
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(folder))

    @property
    def app(self) -> Flask:
        """The page's; the shop, where it makes none."""
        if "app" not in self.names:
            self._module("app.py", SHOP)
            self.create_tables()
        app: Flask = self.names["app"]
        self.names.setdefault("mailbox", Mailbox(app))
        app._got_first_request = False  # views may be added after the requests of an earlier block
        return app

    def create_tables(self) -> None:
        """The application's and the outbox's."""
        db = self.names["db"]
        with self.names["app"].app_context():
            outbox.schema.follow(db.metadata)
            db.create_all()

    def play(self, block: Block) -> None:
        """Runs it, or writes the file that it is."""
        if block.file is not None and block.language != "python":
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.file == "app.py":
            self._environ()
            self._module("app.py", block.text)
        elif block.language == "python":
            self._python(block)
        elif block.language == "console":
            for typed, shown in block.commands():
                self._command(block, typed, shown)

    def _environ(self) -> None:
        """For an application that reads the environment, as the documentation's do."""
        for name, value in self._config.items():
            self._patch.setenv(f"FLASK_{name}", str(value).lower() if isinstance(value, bool) else str(value))

    def _module(self, name: str, text: str) -> None:
        module = types.ModuleType(name.removesuffix(".py"))
        vars(module).update(folder=self.folder, config=self._config)
        self._patch.setitem(sys.modules, module.__name__, module)
        exec(compile(text, name, "exec"), vars(module))
        self._made.append(module)
        self.names = vars(module)

    def _python(self, block: Block) -> None:
        with self.app.app_context():
            exec(compile("\n" * block.line + block.text, f"docs/{block.page}", "exec"), self.names)
            db = self.names["db"]
            db.session.remove()
        for name in [name for name in self.names if name.startswith("test_")]:
            self._test(self.names.pop(name))

    def _test(self, test: Callable[..., None]) -> None:
        with self.app.app_context():
            self.names["db"].drop_all()
            self.names["db"].create_all()
        mailbox = Mailbox(self.app)
        offered = {"app": self.app, "mailbox": mailbox, "client": self.app.test_client(), "smtp": self.smtp}
        try:
            test(**{name: offered[name] for name in inspect.signature(test).parameters})
        finally:
            mailbox.thaw()

    def _command(self, block: Block, typed: str, shown: str) -> None:
        typed, _, remark = typed.partition("  #")
        program, *words = shlex.split(typed)
        if program == "curl":
            printed = self._curl(words)
        else:
            assert program == "flask", f"{block}: {program} is not run; say why"
            name, *rest = words
            if name == "outbox-sender" and not rest:
                rest = ["--drain"]  # it goes on until it is stopped
            with _log() as lines:
                done = runner().invoke(_command(name), rest, obj=ScriptInfo(create_app=lambda: self.app))
            wanted = re.search(r"exit code (\d)", remark)
            assert done.exit_code == int(wanted[1] if wanted else 0), f"{block}: {typed}\n{done.output}"
            printed = done.output + "\n".join(lines)
        _compare(block, typed, shown, printed)

    def _curl(self, words: list[str]) -> str:
        data = dict(word.split("=", 1) for flag, word in pairwise(words) if flag == "-d")
        path = re.sub(r"^(http://)?localhost:5000", "", words[-1])
        client = self.app.test_client()
        return client.post(path, data=data).text if data else client.get(path).text

    def close(self) -> None:
        """Gives back what the applications hold."""
        if "mailbox" in self.names:
            self.names["mailbox"].thaw()
        for module in self._made:
            app, db = vars(module).get("app"), vars(module).get("db")
            if app is None:
                continue
            app.extensions["outbox"].database(app).dispose()
            if db is not None:
                with app.app_context():
                    for engine in db.engines.values():
                        engine.dispose()


@contextmanager
def stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """One for a page."""
    with SmtpServer() as smtp:
        made = Stage(folder, smtp, monkeypatch)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def _log() -> Iterator[list[str]]:
    """What a worker logs: with a handler that shows it, it writes nothing to stderr itself."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("outbox").addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger("outbox").removeHandler(handler)


def _command(name: str) -> click.Command:
    return commands.ALL[name]


def _compare(block: Block, typed: str, shown: str, printed: str) -> None:
    """The lines that the page shows are printed, one after the other; `…` stands for anything."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for line in filter(None, (" ".join(line.split()) for line in shown.splitlines())):
        pattern = ".*".join(re.escape(piece) for piece in line.split("…"))
        while lines and not re.fullmatch(pattern, lines[0]):
            lines.pop(0)
        assert lines, f"{block}: `{typed}` does not print {line!r}, but:\n{printed}"
        lines.pop(0)
