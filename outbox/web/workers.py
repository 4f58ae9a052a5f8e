"""The workers: which there are, and asking one to end."""

from __future__ import annotations

from collections.abc import Iterator

from flask import abort, render_template, request, url_for
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core.loggers import get_logger
from outbox.operations import Ask
from outbox.web import csrf, done, filter_form
from outbox.web.current import connected, engine, settings
from outbox.web.results import Result
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")


def workers() -> ResponseReturnValue:
    """All that have not ended, with what each does."""
    with connected() as connection:
        found = operations.workers(connection, dead_after=settings().dead_after_seconds)
    return render_template("outbox_admin/workers.html", workers=found)


def ask_to_end(id: int) -> ResponseReturnValue:
    """What will happen, with a button that does it."""
    what = _asked(request.args.get("what"))
    with connected() as connection:
        found = operations.workers(connection, dead_after=settings().dead_after_seconds)
    worker = next((one for one in found if one.id == id), None)
    if worker is None:
        abort(404, f"Worker {id} has ended.")
    return render_template("outbox_admin/worker.html", worker=worker, what=what, others=worker.others_alive(found))


def end_worker(id: int) -> ResponseReturnValue:
    """Ask it to end."""
    csrf.check()
    what = _asked(request.form.get("what"))
    with operations.transaction(engine()) as connection:
        found = operations.workers(connection, dead_after=settings().dead_after_seconds)
        asked = operations.ask_to_end(connection, id, what, by=actor(), note=filter_form.note(request.form))
    log.info("status=%s-worker by=%r worker=%d asked=%s", what, actor(), id, asked)
    worker = next((one for one in found if one.id == id), None) if asked else None
    return done.leading_to(url_for(".workers"), *_results(what, worker, found))


def _results(what: Ask, worker: operations.Worker | None, there: list[operations.Worker]) -> Iterator[Result]:
    if worker is None:
        yield Result("Nothing was changed: that worker had already ended.", good=False)
        return
    ends = "has finished what it is sending" if what is Ask.STOP else "finds nothing due any more"
    yield Result(f"Asked worker {worker.host}:{worker.pid} to {what}. It ends when it {ends}.")
    if not worker.others_alive(there):
        yield Result("No other worker is alive: then nothing is sent until you start another.", good=False)


def _asked(word: str | None) -> Ask:
    try:
        return Ask(word or "")
    except ValueError:
        abort(400, f"A worker can't do that. It can: {', '.join(Ask)}.")


VIEWS = (
    ("/workers", "workers", "GET", (Right.VIEW,), workers),
    ("/workers/<int:id>/question", "ask_to_end", "GET", (Right.VIEW, Right.ACT), ask_to_end),
    ("/workers/<int:id>/end", "end_worker", "POST", (Right.VIEW, Right.ACT), end_worker),
)
