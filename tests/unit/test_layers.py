"""The layers of the package: imports point down only. LAYERS below is the one place where they are written."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LAYERS = (  # from the ground up; a module may import its own layer and those above it in this list
    (
        "version",
        "errors",
        "clock",
        "bell",
        "loggers",
        "events",
        "signals",
        "stopping",
        "progress",
        "watchdog",
        "receivers",
    ),
    ("states", "waits", "reply", "message", "relay", "deadline", "statements"),
    (
        "verdicts",
        "reply_rule",
        "reply_accounts",
        "reply_rules",
        "reply_presets",
        "hints",
        "breaker",
        "admission",
        "alternation",
        "comparisons",
        "evidence",
        "blame",
        "policy",
        "turns",
        "mime",
        "preview",
        "autocommit",
        "dialect",
        "settings",
    ),
    ("server_settings", "sqlite_file", "engines", "transactions"),
    ("models", "schema", "compose", "kept", "wake", "arrays", "packet", "rendered"),
    ("enqueue", "bulk", "stored", "pauses", "dbclock", "claims", "queue", "transport", "smtp"),
    ("ledger", "rulings", "consequences", "operations"),
    (
        "recorder",
        "feed",
        "pulse",
        "presence",
        "rate",
        "shelf",
        "ready",
        "hub",
        "meters",
        "metrics",
        "monitor",
        "readiness",
        "jobs",
    ),
    ("report", "dispatch"),
    ("claimer",),
    ("crew",),
    ("daemon", "testing"),
    ("supervisor",),
    ("cli", "web"),  # a package stands for all that is in it
    ("extension", "bound", "sessions", "posting", "guard", "pending", "scopes", "mail", "adds"),
    ("__init__",),
)

OUTSIDE = {  # what only these modules may import, but for the sake of a type
    "sqlalchemy": (
        "autocommit",
        "dialect",
        "server_settings",
        "sqlite_file",
        "engines",
        "transactions",
        "models",
        "schema",
        "kept",
        "arrays",
        "packet",
        "rendered",
        "enqueue",
        "bulk",
        "stored",
        "dbclock",
        "claims",
        "queue",
        "pauses",
        "rulings",
        "ledger",
        "wake",
        "operations",
        "extension",
        "bound",
        "sessions",
        "guard",
        "pending",
        "scopes",
        "testing",
    ),
    "smtplib": ("transport", "smtp"),
    "apscheduler": ("jobs",),
    "alembic": ("schema",),
    "prometheus_client": ("metrics",),
    "app": (),
    "tests": (),
    "devserver": (),
}

SQL = (
    "arrays",
    "packet",
    "rendered",
    "enqueue",
    "bulk",
    "stored",
    "dbclock",
    "claims",
    "queue",
    "pauses",
    "rulings",
    "ledger",
    "wake",
    "operations",
)  # they and SMTP meet in dispatch.py alone, in values
SMTP = ("transport", "smtp")

PATCHED = ("queue", "select", "selectors", "socket", "ssl", "subprocess", "threading")
"""Modules in which gevent replaces what waits; a name imported from them keeps the one that stops all its threads."""

CLOCKS = {  # what only clock.py may touch
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "gmtime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}

Modules = Mapping[str, str]  # name inside the package ("web.pages") -> source


def test_every_module_has_a_layer() -> None:
    """A module that no layer lists is a fault: each has one duty and one place."""
    unknown = [name for name in package() if layer_of(name) is None]
    assert not unknown, f"add to LAYERS in {Path(__file__).relative_to(ROOT)}: {', '.join(unknown)}"


def test_imports_point_down() -> None:
    """No module of the package imports one of a layer above its own."""
    assert upward(package()) == []


def test_no_module_imports_itself_by_a_detour() -> None:
    """Within a layer, too, imports make no circle."""
    assert circle(package()) is None


def test_the_outside_is_touched_where_it_may_be() -> None:
    """SQL, SMTP, the scheduler and the migrations each have their modules; app/ is never imported."""
    assert strangers(package()) == []


def test_sql_and_smtp_do_not_know_each_other() -> None:
    """They meet in dispatch.py alone, through values."""
    assert meetings(package()) == []


def test_one_module_reads_the_clock() -> None:
    """Elsewhere `now` is an argument, or comes from clock.py."""
    assert clock_readers(package()) == []


def test_what_waits_is_looked_up_when_it_is_used() -> None:
    """gevent's `patch_all` replaces it in its module, in an application that is loaded after the commands."""
    assert kept_unpatched(package()) == []


def package() -> Modules:
    """The source of every module of outbox/."""
    folder = ROOT / "outbox"
    return {_name(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.py"))}


def layer_of(module: str) -> int | None:
    """The number of the layer that lists the module, or its package."""
    top = module.partition(".")[0]
    return next((number for number, layer in enumerate(LAYERS) if _listed(top, layer)), None)


def upward(modules: Modules) -> list[str]:
    layers = {name: layer for name in modules if (layer := layer_of(name)) is not None}
    edges = [(a, b) for a, b in _edges(modules) if a in layers and b in layers]
    return [f"{a} -> {b}" for a, b in edges if layers[a] < layers[b]]


def circle(modules: Modules) -> list[str] | None:
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for importer, imported in _edges(modules):
        graph[importer].add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def strangers(modules: Modules) -> list[str]:
    found = []
    for name, source in modules.items():
        tops = {target.partition(".")[0] for target in _imports(_at_run_time(source))}
        found += [
            f"{name} imports {top}" for top in sorted(tops & OUTSIDE.keys()) if not _listed(_top(name), OUTSIDE[top])
        ]
    return found


def meetings(modules: Modules) -> list[str]:
    return [
        f"{a} -> {b}"
        for a, b in _edges(modules)
        if (_listed(_top(a), SQL) and _listed(_top(b), SMTP)) or (_listed(_top(a), SMTP) and _listed(_top(b), SQL))
    ]


def clock_readers(modules: Modules) -> list[str]:
    found = []
    for name, source in modules.items():
        if name == "clock":
            continue
        for node in ast.walk(ast.parse(source)):
            found += [f"{name}:{node.lineno} {read}" for read in _clocks_read(node)]
    return found


def kept_unpatched(modules: Modules) -> list[str]:
    found = []
    for name, source in modules.items():
        for node in ast.walk(_at_run_time(source)):
            if isinstance(node, ast.ImportFrom) and node.module in PATCHED:
                found += [f"{name}:{node.lineno} {node.module}.{alias.name}" for alias in node.names]
        for statement in ast.parse(source).body:  # made as the module is imported
            if isinstance(statement, ast.Assign) and ast.unparse(statement.value).startswith("threading.local("):
                found.append(f"{name}:{statement.lineno} threading.local")
    return found


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
        for target in _imports(ast.parse(source)):
            imported = _resolve(target, modules)
            if imported is not None and imported != name:
                edges.add((name, imported))
    return sorted(edges)


def _at_run_time(source: str) -> ast.Module:
    """The module without what stands under `if TYPE_CHECKING`."""
    module = ast.parse(source)
    for node in ast.walk(module):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return module


def _imports(module: ast.Module) -> set[str]:
    """Dotted names of all that is imported, wherever the statement stands; `from a import b` gives `a.b`."""
    found: set[str] = set()
    for node in ast.walk(module):
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


def _listed(module: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns)


@pytest.mark.parametrize(
    ("check", "modules", "found"),
    [
        (upward, {"states": "import outbox.queue", "queue": ""}, ["states -> queue"]),
        (upward, {"mime.wire": "def f():\n    from outbox import models", "models": ""}, ["mime.wire -> models"]),
        (upward, {"web.pages": "from outbox import Outbox", "__init__": ""}, ["web.pages -> __init__"]),
        (circle, {"states": "import outbox.reply", "reply": "import outbox.states"}, ["states", "reply", "states"]),
        (strangers, {"policy": "from sqlalchemy.orm import Session"}, ["policy imports sqlalchemy"]),
        (strangers, {"web.pages": "import sqlalchemy as sa"}, ["web.pages imports sqlalchemy"]),
        (strangers, {"web": "if TYPE_CHECKING:\n    import sqlalchemy\nelse:\n    import app"}, ["web imports app"]),
        (strangers, {"dispatch": "import smtplib"}, ["dispatch imports smtplib"]),
        (strangers, {"extension": "from app.config import Config"}, ["extension imports app"]),
        (meetings, {"queue": "from outbox.transport import send", "transport": ""}, ["queue -> transport"]),
        (meetings, {"smtp.reply": "from outbox import queue", "queue": ""}, ["smtp.reply -> queue"]),
        (clock_readers, {"policy": "import time\nx = time.monotonic"}, ["policy:2 time.monotonic"]),
        (clock_readers, {"policy": "import datetime\ndatetime.datetime.now()"}, ["policy:2 datetime.now"]),
        (clock_readers, {"policy": "from time import monotonic as m"}, ["policy:1 time.monotonic"]),
        (kept_unpatched, {"hub": "from queue import SimpleQueue"}, ["hub:1 queue.SimpleQueue"]),
        (kept_unpatched, {"hub": "import threading\nx = threading.local()"}, ["hub:2 threading.local"]),
    ],
)
def test_the_checks_find_what_they_look_for(
    check: Callable[[Modules], list[str]], modules: Modules, found: list[str]
) -> None:
    """Each check names the fault in a module made up for it."""
    assert check(modules) == found
