"""A sample → the message that would be enqueued. Nothing is written: what the sample's function does is rolled back."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import flask_mail
from flask import Flask, has_request_context, request
from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PrefixLoader
from sqlalchemy import event
from sqlalchemy.orm import Session

from outbox.core.errors import MessageError
from outbox.extension import locales
from outbox.extension.draft import builds_its_bytes
from outbox.extension.hooks import prepared
from outbox.extension.options import EnqueueOptions, check_names, posting
from outbox.extension.samples import TAKING, Sample, Taken
from outbox.extension.state import Bound
from outbox.message.lint import Finding, of_message
from outbox.message.values import Composed
from outbox.store.enqueue import enqueue
from outbox.store.models import OutboxMessage
from outbox.store.posting import Posting


@dataclass(frozen=True, slots=True)
class Made:
    """One sample in one locale, as it would be enqueued."""

    sample: Sample
    locale: str | None
    composed: Composed
    posted: Posting

    @property
    def wire(self) -> bytes:
        """The exact bytes (RFC 5322, CRLF)."""
        return self.composed.wire()

    def findings(self) -> list[Finding]:
        """What `outbox-lint` says of it."""
        return of_message(self.wire, self.composed.recipients)


def languages(bound: Bound, sample: Sample) -> list[str | None]:
    """In which `sample` can be made: its own, those of the application's translations, or [None]."""
    if sample.locales or not sample.takes_locale:
        return list(sample.locales) or [None]
    with bound.app.app_context():
        return list(locales.offered()) or [None]


def make(bound: Bound, sample: Sample, locale: str | None = None, *, to: str | None = None) -> Made:
    """`sample` in `locale`. `to`: its only recipient, instead of the sample's.

    Raises what the sample's function raises; MessageError where that gives no message, or commits.
    """
    with _nothing_written(bound) as taken, locales.under(locale):
        returned = sample.function(locale=locale) if sample.takes_locale else sample.function()
        message, given = _message(sample, returned, taken)
        given = {"kind": sample.kind} | ({} if locale is None else {"locale": locale}) | given
        if given["kind"] != sample.kind:
            raise _wrong(sample, f"enqueues the kind {given['kind']!r}", "Register it with that kind's preview().")
        check_names(given, EnqueueOptions, "enqueue")
        options = cast(EnqueueOptions, given)
        if to is not None:
            message = _addressed(sample, message, to)
            options = cast(EnqueueOptions, {**given, "key": None, "send_at": None, "expires_at": None})
        if bound.hooks:
            message, options = prepared(bound.hooks, message, options)
        policy = bound.kinds.policy(sample.kind)
        posted = replace(posting(bound.settings, options, policy, wake=bound.settings.wake), limit=None)
        return Made(sample, locale, bound.composed(message, bound.now(), posted, options, policy), posted)


def write(session: Session, made: Made) -> OutboxMessage:
    """Enqueue `made` in `session`, as any message of its kind but for the throttle. The caller commits."""
    return enqueue(session, made.composed, made.posted)[0]


def fingerprint(bound: Bound) -> str:
    """Another text when a template, or the module of a sample, is another."""
    found = hashlib.sha256()
    for sample in bound.kinds.samples:
        found.update(f"{sample.id} {sample.file} {sample.written}\n".encode())
    folders = {path for loader in _loaders(bound.app) for path in _paths(loader)}
    for folder in sorted(folders):
        for name, _, files in os.walk(folder):
            for file in sorted(files):
                _add(found, Path(name, file))
    return found.hexdigest()[:16]


@contextmanager
def _nothing_written(bound: Bound) -> Iterator[Taken]:
    """A request of its own, of nobody: the application's session in it is rolled back, and a commit is refused."""
    base = request.root_url if has_request_context() else None
    with bound.app.test_request_context("/", base_url=base), _rolled_back(bound):
        taken = Taken()
        token = TAKING.set(taken)
        try:
            yield taken
        finally:
            TAKING.reset(token)


@contextmanager
def _rolled_back(bound: Bound) -> Iterator[None]:
    if not bound.sessions.has_source:
        yield
        return
    session = bound.sessions.current()
    event.listen(session, "before_commit", _refuse)
    try:
        yield
    finally:
        event.remove(session, "before_commit", _refuse)
        session.rollback()


def _refuse(session: Session) -> None:
    if not session.in_nested_transaction():  # a savepoint is rolled back with the rest
        raise MessageError(
            "sample", "commits the session", "Leave that out: what a sample adds is there for the preview alone."
        )


def _message(sample: Sample, returned: Any, taken: Taken) -> tuple[flask_mail.Message, dict[str, Any]]:
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], flask_mail.Message):
        return returned[0], dict(returned[1])
    if isinstance(returned, flask_mail.Message):
        return returned, {}
    if len(taken.messages) == 1:
        return taken.messages[0]
    problem = f"enqueued {len(taken.messages)} messages" if taken.messages else "gave no message"
    raise _wrong(sample, problem, "Return a Message, or call one function that enqueues one.")


def _addressed(sample: Sample, message: flask_mail.Message, to: str) -> flask_mail.Message:
    if builds_its_bytes(message):
        raise _wrong(sample, "has bytes of its own, with its recipients in them", "Send it from its own function.")
    made = copy.copy(message)
    made.recipients, made.cc, made.bcc = [to], [], []
    return made


def _wrong(sample: Sample, problem: str, remedy: str) -> MessageError:
    return MessageError("sample", f"{str(sample)!r} {problem}", remedy)


def _loaders(app: Flask) -> Iterator[BaseLoader]:
    for scaffold in (app, *app.blueprints.values()):
        if scaffold.jinja_loader is not None:
            yield scaffold.jinja_loader


def _paths(loader: BaseLoader) -> Iterator[str]:
    if isinstance(loader, FileSystemLoader):
        yield from map(str, loader.searchpath)
    elif isinstance(loader, ChoiceLoader):
        yield from (path for one in loader.loaders for path in _paths(one))
    elif isinstance(loader, PrefixLoader):
        yield from (path for one in loader.mapping.values() for path in _paths(one))


def _add(found: Any, file: Path) -> None:
    try:
        found.update(f"{file} {file.stat().st_mtime_ns}\n".encode())
    except OSError:  # it was removed in between
        found.update(f"{file}\n".encode())
