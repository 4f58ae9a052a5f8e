"""Whose transaction the mail is written in: the kinds of session that `init_app` and `enqueue` take."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FunctionType
from typing import Any

import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from werkzeug.local import LocalProxy

from outbox.core.errors import ConfigurationError
from outbox.core.events import logger
from outbox.settings import Settings, unread_words
from outbox.settings.values import is_unset
from outbox.store.databases import of, of_url
from outbox.store.effects import Listeners, listen, listeners_of
from outbox.store.engines import close_with, engine_like, worker_engine
from outbox.store.enqueue import write_bind
from outbox.store.sealing import give_keyring

KINDS = (
    "a Session, a scoped_session, a function that returns the current session, or an object with .session (the `db` of "
    "Flask-SQLAlchemy or Flask-SQLAlchemy-Lite)"
)

_NO_URL = (
    "is not a database URL that SQLAlchemy knows, or its driver is not installed. Such as: "
    "postgresql+psycopg://user:password@host/name (pip install psycopg), mariadb+pymysql://user:password@host/name "
    "(pip install pymysql), sqlite:////path/to/file."
)
_URL_NAME = "OUTBOX_DATABASE_URL"
_MISSING = object()
_MOST_STEPS = 5  # from what was given to a session


class Sessions:
    """Where one application's mail is written, and where its workers find it."""

    def __init__(self, app: Flask, settings: Settings, source: Any) -> None:
        """Raises ConfigurationError if `source` can't give a session or OUTBOX_DATABASE_URL is no URL."""
        self._app = app
        self._settings = settings
        self._source = source
        self._lock = threading.Lock()
        self._engines: dict[str, Engine] = {}
        self._pid = 0
        check_source(source)
        self._url = _url(settings.database_url)
        self._read_url = _url(settings.read_url, "OUTBOX_READ_URL")
        _url(settings.listen_url, "OUTBOX_LISTEN_URL")
        if source is None and self._url is None:
            raise ConfigurationError([_nothing_given(app)])
        self._compared = False
        if settings.keyring is not None:
            settings.keyring.introduce(settings.address_digest_key)
        self.listeners: Listeners | None = None
        """Who is to be told of what is recorded here."""

    def session(self, given: Any = None) -> AbstractContextManager[tuple[Session, bool]]:
        """The session to enqueue in, and whether it is one of our own, committed at the end."""
        source = self._source if given is None else given
        if source is None:
            return self._own()
        current = session_of(source)
        if self._url is not None and not self._compared:
            self._compare(_bind_of(current).url, self._url)
        if self._settings.keyring is not None:
            give_keyring(_bind_of(current), self._settings.keyring)
        return nullcontext((current, False))

    @contextmanager
    def _own(self) -> Iterator[tuple[Session, bool]]:
        with Session(self.engine(), expire_on_commit=False) as own, own.begin():
            yield own, True

    @property
    def has_source(self) -> bool:
        """Whether the application gave a session."""
        return self._source is not None

    def current(self) -> Session:
        """The application's current session. Raises ConfigurationError if there is none."""
        return session_of(self._source)

    def engine(self) -> Engine:
        """The database of the outbox, set up for workers; made once for each process.

        OUTBOX_DATABASE_URL if it is set, else where the session that `init_app` was given keeps `OutboxMessage`.
        """
        made = self._kept("workers", self._made)
        give_keyring(made, self._settings.keyring)
        if self.listeners is not None and listeners_of(made) is not self.listeners:
            listen(made, self.listeners)
        return made

    def reading_engine(self) -> Engine:
        """Where pages and commands read that change nothing: the replica of OUTBOX_READ_URL, or the same database."""
        url = self._read_url
        return self.engine() if url is None else self._kept("readers", lambda: self._replica(url))

    def _kept(self, name: str, make: Callable[[], Engine]) -> Engine:
        with self._lock:
            if self._pid != os.getpid():
                for engine in self._engines.values():
                    engine.dispose(close=False)  # after a fork the connections are the parent's
                self._pid = os.getpid()
            if name not in self._engines:
                self._engines[name] = make()
            return self._engines[name]

    def _replica(self, url: sa.URL) -> Engine:
        made = worker_engine(url, timeout=self._settings.database_timeout_seconds)
        theirs = self.application_engine()
        return close_with(self, made if theirs is None else made.execution_options(**_where(theirs)))

    def forget(self) -> None:
        """In a process that was just forked: leave the connections of the application's own pool to its parent."""
        if self._source is not None:
            self._bind().dispose(close=False)

    def application_engine(self) -> Engine | None:
        """The engine of the application's own session; None if it gave none, or has one only within a request."""
        if self._source is None:
            return None
        try:
            return self._bind()
        except Exception:
            if self._url is None:
                raise
            return None  # whatever the application's function says of being called here: it is not needed

    def elsewhere(self) -> list[Engine]:
        """Other databases that the application's session may write to, each with its own commit; none if two-phase."""
        if self._source is None:
            return []
        try:
            with nullcontext() if self._is_current() else self._app.app_context():
                session, known = session_of(self._source), getattr(self._source, "engines", {})
                own = _bind_of(session)
        except Exception:  # noqa: BLE001 - the application's function, called outside of a request
            return []
        single = getattr(session, "binds", None) or getattr(session, "_Session__binds", {})  # before SQLAlchemy 2.1
        binds = [session.bind, *single.values()]
        binds += known.values() if isinstance(known, Mapping) else ()
        engines = {one if isinstance(one, Engine) else one.engine for one in binds if one is not None}
        return [] if session.twophase else sorted(engines - {own}, key=lambda engine: str(engine.url))

    def _is_current(self) -> bool:
        return has_app_context() and current_app._get_current_object() is self._app  # type: ignore[attr-defined]

    def _compare(self, session: sa.URL, workers: sa.URL) -> None:
        """Once: whether the mail that is about to be written is where workers look, as far as the addresses tell."""
        if (ours := _place(session)) != (theirs := _place(workers)):
            from outbox.operations import apart  # not at the top: a request has no need of all the others

            said = apart(workers, session)
            kinds = {ours[0], theirs[0]}
            if len(kinds) > 1 or of_url(session).in_process:  # else there may be a pooler at one of the addresses
                raise ConfigurationError([f"{said}. Set OUTBOX_DATABASE_URL to the session's, or leave it out."])
            logger.warning("unless these are two addresses of one database (outbox-check asks it), %s", said)
        self._compared = True

    def _made(self) -> Engine:
        needed = max(self._settings.connections, 4 * len(self._settings.transports))
        connections, timeout = needed, self._settings.database_timeout_seconds
        if self._url is not None:
            theirs = self.application_engine()
            if theirs is None or not _is_same(theirs.url, self._url):
                made = worker_engine(self._url, connections=connections, timeout=timeout)
                return close_with(self, made if theirs is None else made.execution_options(**_where(theirs)))
            engine = theirs  # the address alone would drop what it was made with
        else:
            engine = self._bind()
        if of(engine).is_in_memory(engine.url):
            return engine  # another engine would have another, empty database
        return close_with(self, engine_like(engine, connections=connections, timeout=timeout))

    def _bind(self) -> Engine:
        with nullcontext() if self._is_current() else self._app.app_context():
            return _bind_of(session_of(self._source))


def _nothing_given(app: Flask) -> str:
    unread = "" if is_unset(os.environ.get(_URL_NAME)) else f" {unread_words([_URL_NAME])}."
    if "sqlalchemy" in app.extensions:
        return (
            "The outbox has neither a session nor a database. Give it Flask-SQLAlchemy's: "
            f"init_app(app, session=db).{unread}"
        )
    if unread:
        return f"The outbox has neither a session nor a database.{unread}"
    return (
        f"The outbox has neither a session nor a database. Call init_app(app, session=...) with {KINDS}; or, in an "
        "application without SQLAlchemy, set OUTBOX_DATABASE_URL (sqlite:////path/to/outbox.sqlite, for instance)."
    )


def check_source(source: Any) -> None:
    """Raises ConfigurationError for what can't give the current session; None passes."""
    problem = None
    if type(source) is LocalProxy:
        return  # there may be no session yet to look at
    if isinstance(source, sessionmaker):
        problem = (
            "is a sessionmaker, which makes a new session at each call, and nobody would commit that. Give "
            "scoped_session(maker), or a function that returns the session of the current request"
        )
    elif isinstance(source, type):
        problem = f"is the class {source.__name__}"
    elif inspect.getattr_static(source, "run_sync", None) is not None:
        problem = "is an AsyncSession. Enqueue with `await session.run_sync(lambda sync: mail.enqueue(message, sync))`"
    elif source is not None and not (callable(source) or _has_session(source) or isinstance(source, Session)):
        problem = f"is of type {type(source).__name__}"
    if problem is not None:
        raise ConfigurationError([f"session= {problem}. It takes {KINDS}."])


def session_of(source: Any) -> Session:
    """The current session of whatever kind of source. Raises ConfigurationError if there is none."""
    for _ in range(_MOST_STEPS):
        if isinstance(source, LocalProxy):
            source = source._get_current_object()
        if isinstance(source, Session):
            return source
        if source is None:
            raise ConfigurationError([f"session= returned None: no session is active. It takes {KINDS}."])
        if isinstance(source, FunctionType | scoped_session):  # most are, and nothing is wrong with these
            source = source()
            continue
        check_source(source)
        source = source.session if _has_session(source) else source()
    raise ConfigurationError([f"session= does not lead to a session. It takes {KINDS}."])


def _is_same(one: sa.URL, other: sa.URL) -> bool:
    """Whether both lead to one database, by the same driver and as the same user."""
    names = [(url.get_driver_name(), _place(url), url.username, url.query) for url in (one, other)]
    return names[0] == names[1] and other.password in (None, one.password)


def _place(url: sa.URL) -> tuple[Any, ...]:
    return of_url(url).place(url)


def _where(engine: Engine) -> dict[str, Any]:
    """The options that say where the session's engine has its tables."""
    options = engine.get_execution_options()
    return {name: options[name] for name in ("schema_translate_map",) if name in options}


def _has_session(source: Any) -> bool:
    # Not hasattr: outside of an application context the property of Flask-SQLAlchemy-Lite raises a RuntimeError.
    return inspect.getattr_static(source, "session", _MISSING) is not _MISSING


def _bind_of(session: Session) -> Engine:
    try:
        bind = write_bind(session)
    except sa.exc.UnboundExecutionError as error:
        raise ConfigurationError([f"The session has no database for the outbox ({error}). Bind it to one."]) from None
    return bind if isinstance(bind, Engine) else bind.engine


def _url(text: str | None, name: str = _URL_NAME) -> sa.URL | None:
    if text is None:
        return None
    try:
        url = sa.make_url(text)
        url.get_dialect()
    except (sa.exc.ArgumentError, ImportError, ValueError):
        raise ConfigurationError([f"{name} {_NO_URL}"]) from None
    return url
