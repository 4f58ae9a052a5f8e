"""The rooms of the package: imports point down only. WALLS below is the one place where they are written."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WALLS = """
floor  room        may import from outside
    7  cli         click dns flask flask_mail mrml sqlalchemy socket select
    7  testing     flask pytest sqlalchemy
    6  web         flask werkzeug markupsafe cryptography ssl
    6  worker      apscheduler celery socket
    5  monitoring  prometheus_client socket
    4  extension   flask werkzeug flask_mail flask_babel babel blinker jinja2 sqlalchemy socket
    4  operations  sqlalchemy
    3  smtp        smtplib socket ssl flask_mail msal google
    3  store       sqlalchemy alembic socket
    2  message     cryptography css_inline flufl
    2  settings
    1  core        select socket
    1  delivery
"""  # a room may import its own floor, without circles, and those below

DOORS = ("__init__", "celery", "models", "schema")  # what applications import; nothing in the rooms does

ENTRIES = {
    "worker.process": "flask",
    "worker.supervisor": "flask",
    "worker.in_process": "flask",
    "worker.engine": "flask",
    "worker.parts": "flask",
    "worker.on_celery": "flask",
}  # where the application is handed in

APART = (("store", "smtp"), ("operations", "smtp"))  # SQL and SMTP meet in worker/dispatcher.py alone, in values

DATABASES = {"sqlite", "postgresql", "mysql", "mariadb"}  # only store/databases tells them apart
DATABASE_ROOM = "store.databases"

PATCHED = ("queue", "select", "selectors", "socket", "ssl", "subprocess", "threading")
"""Modules in which gevent replaces what waits; a name imported from them keeps the one that stops all its threads."""

TYPED = ("cli", "web", "worker", "testing")
"""Rooms that get the extension's objects typed: from `outbox_of` and `bound_to`, never from `app.extensions`."""

OURS = {"outbox", "mail"}
"""What `app.extensions` calls the extension's objects."""

BUILT = {"RetryPolicy", "Terms", "Queue", "Rulings", "Blame", "Purger"}
"""What is made of the settings in one place, for worker, supervisor and `outbox.testing`."""

BUILDERS = {"worker.build", "testing.drain"}  # the latter has a judge of its own, which lets every message through

LONGEST, MEDIAN = 300, 110
"""Lines of a module. The median to aim at is 100; the rest is room, so that one new module is no reason to fail."""

NOT_ANY = {"app", "bound", "connection", "database", "engine", "extension", "mail", "outbox", "queue", "settings"}
"""Names that stand for the extension's objects, or come from them."""

CLOCKS = {  # what only clock.py may touch
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "gmtime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}

Modules = Mapping[str, str]  # name inside the package ("web.pages") -> source


@dataclass(frozen=True)
class Room:
    """A line of WALLS."""

    floor: int
    libraries: frozenset[str]


def _room(line: str) -> tuple[str, Room]:
    floor, name, *libraries = line.split()
    return name, Room(int(floor), frozenset(libraries))


ROOMS = dict(_room(line) for line in WALLS.strip().splitlines()[1:])
WATCHED = {"app", "tests", "devserver"}.union(*(room.libraries for room in ROOMS.values()))


def test_every_module_has_a_room() -> None:
    """A module stands in a room of the table, or is a door."""
    homeless = [name for name in package() if _top(name) not in ROOMS and name not in DOORS]
    assert not homeless, f"put into a room of WALLS in {Path(__file__).relative_to(ROOT)}: {', '.join(homeless)}"


def test_the_package_shows_its_rooms_and_doors() -> None:
    """`ls outbox` fits on a few lines: the rooms, the doors, and the mark of a typed package."""
    names = {path.name for path in (ROOT / "outbox").iterdir()} - {"__pycache__"}
    assert names == ROOMS.keys() | {f"{door}.py" for door in DOORS} | {"py.typed"}


def test_imports_point_down() -> None:
    """No module of the package imports one of a floor above its own."""
    assert upward(package()) == []


def test_no_room_imports_itself_by_a_detour() -> None:
    """Rooms of one floor, too, make no circle."""
    assert circle_of_rooms(package()) is None


def test_no_module_imports_itself_by_a_detour() -> None:
    """Within a layer, too, imports make no circle."""
    assert circle(package()) is None


def test_no_expression_is_a_branch() -> None:
    """`a() if x else b()` as a statement is an `if` that hides."""
    found = [
        f"{name}:{node.lineno}"
        for name, source in package().items()
        for node in nodes(source)
        if isinstance(node, ast.Expr) and isinstance(node.value, (ast.IfExp, ast.BoolOp))
    ]
    assert found == []


def test_the_outside_is_touched_where_it_may_be() -> None:
    """Each library stands behind the wall of its rooms; app/ is never imported."""
    assert strangers(package()) == []


def test_sql_and_smtp_do_not_know_each_other() -> None:
    """They meet in worker/dispatcher.py alone, through values."""
    assert meetings(package()) == []


def test_only_store_databases_tells_databases_apart() -> None:
    """Elsewhere `databases.of` is asked: a new database is one file, and a line in its table."""
    assert dialects_named(package()) == []


def test_one_module_reads_the_clock() -> None:
    """Elsewhere `now` is an argument, or comes from clock.py."""
    assert clock_readers(package()) == []


def test_the_extension_is_typed_above_it() -> None:
    """No command, page or worker sees the extension as Any."""
    assert untyped(package()) == []


def test_the_parts_of_a_worker_are_made_in_one_place() -> None:
    """Each from the settings, by `worker/build.py`."""
    assert makers(package()) == []


def test_a_module_answers_one_question() -> None:
    """None has more than 300 lines, and half of them have about 100 at most."""
    lengths = {name: len(source.splitlines()) for name, source in package().items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
    assert statistics.median(lengths.values()) <= MEDIAN


def test_what_waits_is_looked_up_when_it_is_used() -> None:
    """gevent's `patch_all` replaces it in its module, in an application that is loaded after the commands."""
    assert kept_unpatched(package()) == []


@cache
def package() -> Modules:
    """The source of every module of outbox/."""
    folder = ROOT / "outbox"
    return {_name(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.py"))}


@cache
def parsed(source: str) -> ast.Module:
    """Made once for all checks, which change nothing in it."""
    return ast.parse(source)


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(parsed(source)))


def floor_of(module: str) -> int:
    """The floor of the module's room; the doors stand above all."""
    room = ROOMS.get(_top(module))
    return max(room.floor for room in ROOMS.values()) + 1 if room is None else room.floor


def upward(modules: Modules) -> list[str]:
    return [f"{a} -> {b}" for a, b in _edges(modules) if floor_of(a) < floor_of(b)]


def circle_of_rooms(modules: Modules) -> list[str] | None:
    graph: dict[str, set[str]] = {}
    for importer, imported in _edges(modules):
        if _top(importer) != _top(imported):
            graph.setdefault(_top(importer), set()).add(_top(imported))
    return _circle(graph)


def circle(modules: Modules) -> list[str] | None:
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for importer, imported in _edges(modules):
        graph[importer].add(imported)
    return _circle(graph)


def strangers(modules: Modules) -> list[str]:
    found = []
    for name, source in modules.items():
        room = ROOMS.get(_top(name))
        allowed = {ENTRIES.get(name)} | (room.libraries if room else set())
        tops = {target.partition(".")[0] for target in _imports(_at_run_time(source))}
        found += [f"{name} imports {top}" for top in sorted(tops & WATCHED) if top not in allowed]
    return found


def meetings(modules: Modules) -> list[str]:
    apart = {frozenset(pair) for pair in APART}
    return [f"{a} -> {b}" for a, b in _edges(modules) if frozenset((_top(a), _top(b))) in apart]


def dialects_named(modules: Modules) -> list[str]:
    found = []
    for name, source in modules.items():
        if name == DATABASE_ROOM or name.startswith(f"{DATABASE_ROOM}."):
            continue
        found += [f"{name} imports {one}" for one in _imports(nodes(source)) if one.startswith("sqlalchemy.dialects")]
        for node in nodes(source):
            found += [f"{name}:{node.lineno} {asked}" for asked in _asked_of_dialect(node)]
    return found


def clock_readers(modules: Modules) -> list[str]:
    found = []
    for name, source in modules.items():
        if name == "core.clock":
            continue
        for node in nodes(source):
            found += [f"{name}:{node.lineno} {read}" for read in _clocks_read(node)]
    return found


def makers(modules: Modules) -> list[str]:
    found = []
    for name, source in modules.items():
        calls = (node.func for node in nodes(source) if isinstance(node, ast.Call))
        made = sorted({func.id for func in calls if isinstance(func, ast.Name)} & BUILT)
        found += [f"{name} makes {one}" for one in made if name not in BUILDERS]
    return found


def untyped(modules: Modules) -> list[str]:
    found = []
    for name, source in modules.items():
        if _top(name) in TYPED:
            for node in nodes(source):
                found += [f"{name}:{node.lineno} {what}" for what in _untyped(node)]  # type: ignore[attr-defined]
    return found


def _untyped(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef) and node.name.strip("_") in NOT_ANY and _is_any(node.returns):
        yield f"{node.name}() -> Any"
    elif isinstance(node, ast.arg) and node.arg.strip("_") in NOT_ANY and _is_any(node.annotation):
        yield f"{node.arg}: Any"
    elif isinstance(node, ast.AnnAssign) and _is_any(node.annotation):
        target = ast.unparse(node.target)
        if target.rpartition(".")[2].strip("_") in NOT_ANY:
            yield f"{target}: Any"
    elif isinstance(node, ast.Subscript) and _is_extensions(node.value) and _name_of(node.slice) in OURS:
        yield ast.unparse(node)
    elif isinstance(node, ast.Call) and _is_extensions(getattr(node.func, "value", None)):
        yield from (ast.unparse(node) for argument in node.args if _name_of(argument) in OURS)


def _is_any(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id == "Any"


def _is_extensions(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "extensions"


def _name_of(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def kept_unpatched(modules: Modules) -> list[str]:
    found = []
    for name, source in modules.items():
        for node in _at_run_time(source):
            if isinstance(node, ast.ImportFrom) and node.module in PATCHED:
                found += [f"{name}:{node.lineno} {node.module}.{alias.name}" for alias in node.names]
        for statement in parsed(source).body:  # made as the module is imported
            made = statement.value if isinstance(statement, ast.Assign) else None
            if isinstance(made, ast.Call) and ast.unparse(made.func) == "threading.local":
                found.append(f"{name}:{statement.lineno} threading.local")
    return found


def _asked_of_dialect(node: ast.AST) -> Iterator[str]:
    """How this node asks which database it is: by the dialect's or the address's name, or by a name in the code."""
    if isinstance(node, ast.Attribute):
        owner = getattr(node.value, "attr", getattr(node.value, "id", ""))
        if (owner.endswith("dialect") and node.attr == "name") or node.attr in {
            "dialect_options",
            "get_backend_name",
            "get_dialect_name",
            "is_mariadb",
        }:
            yield f"{owner}.{node.attr}"
    elif isinstance(node, ast.Compare | ast.Dict | ast.Set | ast.MatchValue | ast.Call):
        compared: list[ast.AST | None] = []
        if isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            compared = list(node.keys)
        elif isinstance(node, ast.Set):
            compared = list(node.elts)
        elif isinstance(node, ast.MatchValue):
            compared = [node.value]
        yield from (repr(one.value) for one in compared if isinstance(one, ast.Constant) and one.value in DATABASES)
        options = [keyword.arg or "" for keyword in node.keywords] if isinstance(node, ast.Call) else []
        yield from (option for option in options if option.partition("_")[0] in DATABASES)


def _clocks_read(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
        if node.attr in CLOCKS.get(owner, ()):
            yield f"{owner}.{node.attr}"
    elif isinstance(node, ast.ImportFrom) and node.module == "time":
        yield from (f"time.{alias.name}" for alias in node.names if alias.name in CLOCKS["time"])


def _edges(modules: Modules) -> list[tuple[str, str]]:
    """(importer, imported) for each import of one module of the package by another."""
    edges = set()
    for name, source in modules.items():
        for target in _imports(nodes(source)):
            imported = _resolve(target, modules)
            if imported is not None and imported != name:
                edges.add((name, imported))
    return sorted(edges)


@cache
def _at_run_time(source: str) -> tuple[ast.AST, ...]:
    """The nodes without those under `if TYPE_CHECKING`."""
    left: list[ast.AST] = [parsed(source)]
    found = []
    while left:
        node = left.pop()
        found.append(node)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            left += node.orelse
        else:
            left += ast.iter_child_nodes(node)
    return tuple(found)


def _imports(module: Iterable[ast.AST]) -> set[str]:
    """Dotted names of all that is imported, wherever the statement stands; `from a import b` gives `a.b`."""
    found: set[str] = set()
    for node in module:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports are not used here"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _resolve(target: str, modules: Modules) -> str | None:
    """The module that `outbox.a.b` means: `a.b` if there is one, else `a`, else the package's own face."""
    top, _, rest = target.partition(".")
    if top != "outbox":
        return None
    while rest:
        if rest in modules:
            return rest
        rest = rest.rpartition(".")[0]
    return "__init__"


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _top(module: str) -> str:
    return module.partition(".")[0]


def _circle(graph: Mapping[str, set[str]]) -> list[str] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


@pytest.mark.parametrize(
    ("check", "modules", "found"),
    [
        (upward, {"delivery.a": "import outbox.store.b", "store.b": ""}, ["delivery.a -> store.b"]),
        (upward, {"message.a": "def f():\n    from outbox.store import b", "store.b": ""}, ["message.a -> store.b"]),
        (upward, {"web.pages": "from outbox import Outbox", "__init__": ""}, ["web.pages -> __init__"]),
        (
            circle,
            {"core.a": "import outbox.core.b", "core.b": "import outbox.core.a"},
            ["core.a", "core.b", "core.a"],
        ),
        (
            circle_of_rooms,
            {"web.a": "import outbox.worker.b", "worker.c": "import outbox.web.d", "worker.b": "", "web.d": ""},
            ["web", "worker", "web"],
        ),
        (strangers, {"delivery.retry": "from sqlalchemy.orm import Session"}, ["delivery.retry imports sqlalchemy"]),
        (strangers, {"web.pages": "import sqlalchemy as sa"}, ["web.pages imports sqlalchemy"]),
        (strangers, {"web": "if TYPE_CHECKING:\n    import sqlalchemy\nelse:\n    import app"}, ["web imports app"]),
        (strangers, {"worker.process": "import flask\nimport smtplib"}, ["worker.process imports smtplib"]),
        (strangers, {"worker.pool": "import flask"}, ["worker.pool imports flask"]),
        (strangers, {"message.body": "import flask_mail"}, ["message.body imports flask_mail"]),
        (strangers, {"core.errors": "from werkzeug import local"}, ["core.errors imports werkzeug"]),
        (strangers, {"settings.values": "import socket"}, ["settings.values imports socket"]),
        (strangers, {"extension.outbox": "from app.config import Config"}, ["extension.outbox imports app"]),
        (meetings, {"store.queue": "from outbox.smtp.b import send", "smtp.b": ""}, ["store.queue -> smtp.b"]),
        (meetings, {"smtp.b": "from outbox.store import queue", "store.queue": ""}, ["smtp.b -> store.queue"]),
        (dialects_named, {"store.a": "if engine.dialect.name in x: pass"}, ["store.a:1 dialect.name"]),
        (dialects_named, {"store.a": "def f(dialect): return dialect.name"}, ["store.a:1 dialect.name"]),
        (dialects_named, {"web.a": "x = url.get_backend_name()"}, ["web.a:1 url.get_backend_name"]),
        (dialects_named, {"web.a": "x = kind == 'sqlite'"}, ["web.a:1 'sqlite'"]),
        (dialects_named, {"web.a": "x = {'mysql': 1}[kind]"}, ["web.a:1 'mysql'"]),
        (dialects_named, {"web.a": "x = kind in {'mysql', 'mariadb'}"}, ["web.a:1 'mysql'", "web.a:1 'mariadb'"]),
        (dialects_named, {"web.a": "index(postgresql_where=x)"}, ["web.a:1 postgresql_where"]),
        (
            dialects_named,
            {"store.a": "from sqlalchemy.dialects import mysql"},
            ["store.a imports sqlalchemy.dialects.mysql"],
        ),
        (dialects_named, {"store.databases.mysql": "from sqlalchemy.dialects import mysql"}, []),
        (clock_readers, {"policy": "import time\nx = time.monotonic"}, ["policy:2 time.monotonic"]),
        (clock_readers, {"policy": "import datetime\ndatetime.datetime.now()"}, ["policy:2 datetime.now"]),
        (clock_readers, {"policy": "from time import monotonic as m"}, ["policy:1 time.monotonic"]),
        (makers, {"worker.process": "x = RetryPolicy(first=1)"}, ["worker.process makes RetryPolicy"]),
        (untyped, {"web.a": "x = app.extensions['outbox']"}, ["web.a:1 app.extensions['outbox']"]),
        (untyped, {"cli.a": "x = app.extensions.get('mail')"}, ["cli.a:1 app.extensions.get('mail')"]),
        (untyped, {"cli.a": "def database() -> Any: ..."}, ["cli.a:1 database() -> Any"]),
        (untyped, {"worker.a": "def f(engine: Any) -> None: ..."}, ["worker.a:1 engine: Any"]),
        (untyped, {"testing.a": "self._outbox: Any = 1"}, ["testing.a:1 self._outbox: Any"]),
        (kept_unpatched, {"log": "from queue import SimpleQueue"}, ["log:1 queue.SimpleQueue"]),
        (kept_unpatched, {"log": "import threading\nx = threading.local()"}, ["log:2 threading.local"]),
    ],
)
def test_the_checks_find_what_they_look_for(
    check: Callable[[Modules], list[str]], modules: Modules, found: list[str]
) -> None:
    """Each check names the fault in a module made up for it."""
    assert check(modules) == found
