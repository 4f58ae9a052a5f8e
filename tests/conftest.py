"""Fixtures for all tests: a fresh database on SQLite, PostgreSQL and MariaDB.

A test that takes `database` (the outbox's tables are there) or `empty_database` (no tables) runs once on each, or on
those that its mark names: `@pytest.mark.databases("postgresql", "mariadb")`. A
database that this machine does not have skips its tests and is named in the last lines of the output; with
OUTBOX_TEST_REQUIRE=all (or a list) its tests fail instead. Each pytest-xdist worker has servers of its own, so that a
test may stop and kill them.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import hypothesis
import jinja2
import pytest
from flask import Flask

from tests.order import in_order
from tests.servers import first_data
from tests.servers.brokers import missing
from tests.servers.databases import NAMES, Database, Databases
from tests.servers.leftovers import left_over, mark_children
from tests.servers.pgbouncer import PgBouncer
from tests.servers.process import ServerUnavailable
from tests.statements import compile_once

# No deadline: a busy machine is slow, not wrong. The same examples at each run in CI: red is red for a reason there.
hypothesis.settings.register_profile("project", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("project")

if TYPE_CHECKING:
    import sqlalchemy as sa
    from selenium.webdriver.chrome.webdriver import WebDriver
    from sqlalchemy.orm import Session, scoped_session

pytest_plugins = ["outbox.testing", "pytester"]

LEFT_OUT = "database left out: "

TIERS = {"quick": pytest.mark.long, "once": pytest.mark.further}
"""What a test is on the databases that this mark of it does not name."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--databases",
        default=",".join(NAMES),
        help="databases to test on, separated by commas (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    unknown = set(_asked_for(config)) - set(NAMES)
    if unknown:
        raise pytest.UsageError(f"--databases: {', '.join(sorted(unknown))} is none of {', '.join(NAMES)}")
    gc.disable()  # ten thousand tests are a million objects that stay
    if (shared := first_data.share()) is not None:
        config.add_cleanup(lambda: first_data.unshare(shared))


def pytest_collection_finish() -> None:
    gc.enable()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_name" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("databases")
        names = [name for name in _asked_for(metafunc.config) if marker is None or name in marker.args]
        tiers = [(metafunc.definition.get_closest_marker(here), mark) for here, mark in TIERS.items()]

        def marks(name: str) -> list[pytest.MarkDecorator]:
            return [mark for marker, mark in tiers if marker is not None and name not in marker.args]

        metafunc.parametrize("database_name", [pytest.param(name, marks=marks(name)) for name in names])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = in_order(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Folds all tests that one missing database skips into one line of the summary."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and LEFT_OUT in report.longrepr[2]:
        report.longrepr = ("tests/conftest.py", 1, report.longrepr[2])
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says which databases and brokers were left out and why, where nobody overlooks it."""
    lines = {f"{name}: not in --databases" for name in NAMES if name not in _asked_for(config)}
    lines |= {f"{name}: {why}" for name, why in missing().items()}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if LEFT_OUT in reason:
            lines.add(reason.partition(LEFT_OUT)[2])
    if lines:
        terminalreporter.section("databases and brokers left out", yellow=True)
        for line in sorted(lines):
            terminalreporter.line(line)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """What a test does to logging ends with it: Alembic's own env.py, say, silences every logger that exists."""
    root = logging.getLogger()
    loggers = [root, *(logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger))]
    before = [(logger, logger.disabled, logger.level, logger.propagate) for logger in loggers]
    handlers = set(root.handlers)
    yield
    for logger, disabled, level, propagate in before:
        logger.disabled, logger.propagate = disabled, propagate
        if logger.level != level:  # each time, what all loggers have remembered is forgotten
            logger.setLevel(level)
    for handler in set(root.handlers) - handlers:
        if not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)


class _Templates(jinja2.BytecodeCache):
    """Each application compiles its templates again, and tests make hundreds of them."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        if (compiled := self._compiled.get(bucket.key + bucket.checksum)) is not None:
            bucket.bytecode_from_string(compiled)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        self._compiled[bucket.key + bucket.checksum] = bucket.bytecode_to_string()


def pytest_sessionstart() -> None:
    Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": _Templates()}
    compile_once()


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Whatever a test has started has ended, also where the test failed; else the session's last test has an error."""
    mark_children()
    yield
    if left := left_over():
        pytest.fail("processes that a test has left behind:\n" + "\n".join(left), pytrace=False)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Makes databases by name, for tests that need several or a certain one."""
    made = Databases(tmp_path_factory.mktemp("databases"))
    yield made
    made.close()


@pytest.fixture
def database(databases: Databases, database_name: str) -> Iterator[Database]:
    """A fresh database with the outbox's tables."""
    _need(databases, database_name)
    with databases.with_schema(database_name) as made:
        yield made


@pytest.fixture
def empty_database(databases: Databases, database_name: str) -> Iterator[Database]:
    """A fresh database without tables."""
    _need(databases, database_name)
    with databases.empty(database_name) as made:
        yield made


@pytest.fixture
def pooler(database: Database) -> Iterator[PgBouncer]:
    """PgBouncer in transaction mode before the PostgreSQL database, with one server connection that all share."""
    try:
        pooler = PgBouncer(database.address, "transaction", default_pool_size="1")
    except ServerUnavailable as unavailable:
        if required("pgbouncer"):
            pytest.fail(f"pgbouncer is required (OUTBOX_TEST_REQUIRE): {unavailable}", pytrace=False)
        pytest.skip(str(unavailable))
    with pooler:
        yield pooler


@pytest.fixture
def sqlite_database(databases: Databases) -> Iterator[Database]:
    """A fresh SQLite database with the outbox's tables, for tests in which the database does not matter."""
    with databases.with_schema("sqlite") as made:
        yield made


@pytest.fixture
def db(engine: sa.Engine) -> Iterator[scoped_session[Session]]:
    """The application's session, one for each thread, removed at the end of each application context."""
    from sqlalchemy.orm import scoped_session, sessionmaker

    made = scoped_session(sessionmaker(engine))
    yield made
    made.remove()


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """One browser for all tests of a run; skipped where there is none, unless it is required."""
    from tests.web.chromium import chromium, found

    if found() is None:
        reason = "no chromium and chromedriver found (Debian: apt install chromium chromium-driver)"
        if required("chromium"):
            pytest.fail(f"chromium is required (OUTBOX_TEST_REQUIRE): {reason}", pytrace=False)
        pytest.skip(reason)
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def browser(chrome: WebDriver) -> Iterator[WebDriver]:
    """The browser with an empty cookie jar and an empty console."""
    chrome.get("about:blank")
    chrome.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chrome.get_log("browser")
    yield chrome
    chrome.get("about:blank")


def _asked_for(config: pytest.Config) -> list[str]:
    return [name.strip() for name in config.getoption("--databases").split(",") if name.strip()]


def _need(databases: Databases, name: str) -> None:
    """Skips the test, or fails it where the database is required, if there is no such server."""
    if name == "sqlite":
        return
    try:
        databases.server(name)
    except ServerUnavailable as unavailable:
        reason = str(unavailable)
    else:
        return
    if required(name):
        pytest.fail(f"{name} is required (OUTBOX_TEST_REQUIRE): {reason}", pytrace=False)
    pytest.skip(f"{LEFT_OUT}{name}: {reason}")


def required(name: str) -> bool:
    """Whether tests that need `name` must fail where it can't be had, instead of being skipped."""
    asked = os.environ.get("OUTBOX_TEST_REQUIRE", "")
    return asked == "all" or name in asked.split(",")
