"""Varied mail, and an application with the pages on a port of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.databases import Database
from tests.web.seed import Template
from tests.web.site import Site, serving, site


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Varied mail, written once."""
    return Template(tmp_path_factory.mktemp("seeded"))


@pytest.fixture
def seeded(template: Template, tmp_path: Path) -> Iterator[Database]:
    """A database with varied mail."""
    database = template.copy(tmp_path / "seeded.sqlite3")
    yield database
    database.dispose()


@pytest.fixture
def ids(template: Template) -> dict[str, int]:
    """The delivery's id of each recipient."""
    return template.ids


@pytest.fixture
def pages(seeded: Database) -> Iterator[Site]:
    """The smallest application with the pages, served, everything allowed."""
    with serving(site(seeded.url)) as made:
        yield made
