"""What `pip install .` gives."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel, built from a copy so that nothing is left in the source."""
    source = tmp_path_factory.mktemp("source") / "project"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("outbox", "app", "devserver", "migrations", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel"]
    subprocess.run(
        [*command, "--no-deps", "--no-build-isolation", "--wheel-dir", source / "dist", source],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    (built,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_only_the_package_is_installed(wheel: set[str]) -> None:
    """`import outbox` and nothing else: neither the application nor the tests."""
    tops = {name.partition("/")[0] for name in wheel if ".dist-info/" not in name}
    assert tops == {"outbox"}


def test_the_package_is_complete(wheel: set[str]) -> None:
    """Every file of it is there: modules, templates, styles and the mark that says it is typed."""
    files = (path for path in (ROOT / "outbox").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert {str(path.relative_to(ROOT)) for path in files} <= wheel
    assert "outbox/py.typed" in wheel


def test_commands_of_flask_are_those_of_the_package() -> None:
    """Each entry point leads to a command of its own name, and no command is without one."""
    import outbox.cli

    ours = {point.name: point.load() for point in entry_points(group="flask.commands", module="outbox.cli")}
    assert {name: command.name for name, command in ours.items()} == {name: name for name in ours}
    defined = {thing.name for thing in vars(outbox.cli).values() if isinstance(thing, click.Command)}
    assert defined == ours.keys()
