"""What every story needs: a relay that remembers, and a stage with workers that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import required
from tests.servers.databases import Database
from tests.servers.faketime import FakeClock
from tests.servers.process import ServerUnavailable
from tests.story.stage import Relay, Stage

MakeStage = Callable[..., Stage]


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """A relay that has taken a mail before it says so."""
    with Relay(tmp_path) as relay:
        yield relay


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Makes stages (database, port of the relay, settings) that are cleared after the test."""
    with ExitStack() as stages:

        def make(database: Database, port: int, **settings: str) -> Stage:
            return stages.enter_context(Stage(database, port, tmp_path, **settings))

        yield make


@pytest.fixture
def stage(database: Database, relay: Relay, make_stage: MakeStage) -> Stage:
    """A stage on each database with the usual relay."""
    return make_stage(database, relay.port)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """A clock that can be stepped; the test is skipped where there is none."""
    try:
        made = FakeClock()
    except ServerUnavailable as reason:
        if required("faketime"):
            pytest.fail(f"faketime is required (OUTBOX_TEST_REQUIRE): {reason}", pytrace=False)
        pytest.skip(str(reason))
    yield made
    made.close()
