"""The changes: shown first for what they would do, then done, by POST only and with a token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flask import abort, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from outbox import operations
from outbox.core import clock
from outbox.core.loggers import get_logger
from outbox.delivery.states import State, may
from outbox.operations import Filter
from outbox.web import csrf, done, filter_form, results
from outbox.web.current import connected, engine, settings
from outbox.web.rights import Right, actor
from outbox.web.rights import may as may_here

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = get_logger("outbox.web")

BUDGET_SECONDS = 20.0
"""How long one request may change mail; what is left then needs another click."""

LOOK_SECONDS = 0.03
"""How long the preview may count."""

NOTHING = Filter(ids=(0,))
MAX_TICKED = 200
"""They stand in an address, and servers take some 4,000 characters of it."""
CAP = 10_000
SAMPLE = 10


@dataclass(frozen=True, slots=True)
class Action:
    """A button."""

    name: str
    target: State
    verb: str
    done: str
    becomes: str
    now: str  # what a message is after it, as "is" goes before
    warning: str = ""
    right: Right = Right.ACT
    asks: str = ""  # the verb with its object, as "{}"

    def of(self, what: str) -> str:
        """`Requeue 3 messages`, `Send 3 messages now`."""
        return (self.asks or f"{self.verb} {{}}").format(what)

    def takes(self, state: State, *, suppressed: bool = False) -> bool:
        """Whether a person may do it to mail in `state`; what a worker holds is the worker's.

        `suppressed`: MAIL_SUPPRESS_SEND kept it from being sent.
        """
        return state is not State.SENDING and may(state, self.target, suppressed=suppressed)

    def at_once(self, state: State) -> bool:
        """Whether one mail in `state` needs no second question: it can be taken back and can duplicate nothing."""
        return self.target is not State.SENT and state is not State.UNCERTAIN

    def eligible(self, wanted: Filter) -> Filter | None:
        """What of `wanted` it can change."""
        return operations.eligible(wanted, self.target)

    def batches(self, wanted: Filter, note: str | None) -> Iterator[operations.Batch]:
        """Do it, a batch at a time; what each changed."""
        return operations.in_batches(engine(), wanted, self.target, by=actor(), note=note)

    def held(self, connection: Connection, wanted: Filter) -> results.Held:
        """The pauses that hold some of it all the same, each with how much."""
        return operations.pauses.holding_of(connection, wanted, CAP) if self.target is State.QUEUED else []


class SendNow(Action):
    """Another due time, and no other state."""

    def takes(self, state: State, *, suppressed: bool = False) -> bool:
        return state is State.QUEUED

    def eligible(self, wanted: Filter) -> Filter | None:
        return operations.to_send_now(wanted)

    def batches(self, wanted: Filter, note: str | None) -> Iterator[operations.Batch]:
        wake = settings().wake
        return operations.send_now_in_batches(engine(), wanted, by=actor(), note=note, wake=wake)


ACTIONS = {
    action.name: action
    for action in (
        SendNow(
            "send-now",
            State.QUEUED,
            "Send now",
            "made due now",
            "due at once; attempts that failed still count. What is due already stays as it is",
            "due now",
            right=Right.SEND_NOW,
            asks="Send {} now",
        ),
        Action(
            "requeue",
            State.QUEUED,
            "Requeue",
            "requeued",
            "queued: due at once, with all attempts again",
            "queued again and due now",
        ),
        Action(
            "cancel",
            State.CANCELLED,
            "Cancel",
            "cancelled",
            "cancelled: not sent unless requeued",
            "cancelled, and not sent unless requeued",
        ),
        Action(
            "mark-sent",
            State.SENT,
            "Mark as sent",
            "marked as sent",
            "sent: no further attempt",
            "marked as sent",
            "This can't be undone: sent mail stays sent.",
            asks="Mark {} as sent",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which mail a form speaks of: the ticked ones, or all that match."""

    ids: tuple[int, ...]
    words: filter_form.Words
    everything: bool  # all that match `words`
    origin: int | None  # the one mail from whose page the form came
    note: str | None = None  # why, for the history
    list: str = ""  # the list from which that one was opened, as its page has it
    place: filter_form.Words = field(default_factory=dict)  # which page of its list the form came from
    stopped: bool | None = None  # False: without those whose address is suppressed

    @property
    def is_empty(self) -> bool:
        """Whether nothing is ticked and not everything is meant."""
        return not self.everything and not self.ids

    @property
    def wanted(self) -> Filter:
        asked = filter_form.to_filter(self.words)
        if self.everything:
            return replace(asked, stopped=self.stopped)
        return Filter(ids=self.ids, environment=asked.environment, reason=asked.reason, stopped=self.stopped)


def confirm() -> ResponseReturnValue:
    """What the action would do, with a button that does it. It changes nothing, so Back and Reload lead to it."""
    action, selection = _asked(request.args)
    if selection.is_empty:
        return done.leading_to(_back(selection), results.UNTICKED)
    wanted = selection.wanted
    states = wanted.states or tuple(State)
    with connected() as connection:
        eligible = action.eligible(wanted)
        counts = {state: _totals(connection, replace(wanted, states=(state,)), len(states)) for state in states}
        willing = _totals(connection, eligible or NOTHING)
        leaves_out = eligible is not None and selection.stopped is False
        stopped = _totals(connection, replace(eligible or NOTHING, stopped=True)) if leaves_out else None
        held = action.held(connection, eligible or NOTHING)
        holding = operations.pauses.holding_each(connection, willing.rows)
    return render_template(
        "outbox_admin/confirm.html",
        action=action,
        selection=selection,
        willing=willing,
        holding_each=holding,
        held=held,
        stopped=stopped if stopped is not None and (stopped.total or stopped.looked) else None,
        redacted=_left_out(action, counts, willing, suppressed=wanted.is_suppressed),
        suppressed=wanted.is_suppressed,
        cap=CAP,
        counts={state: page for state, page in counts.items() if page.total or page.looked},
        back=_back(selection, ticked=True),
    )


def act() -> ResponseReturnValue:
    """Do it."""
    csrf.check()
    action, selection = _asked(request.form)
    if selection.is_empty:
        return done.leading_to(_back(selection), results.UNTICKED)
    wanted = selection.wanted
    with connected() as connection:
        held = action.held(connection, action.eligible(wanted) or NOTHING)
    changed, uncertain, finished = _change(action, wanted, selection.note)
    log.info("status=%s by=%r deliveries=%d filter=%r", action.done.replace(" ", "-"), actor(), changed, wanted)
    here = selection.origin is not None
    return done.leading_to(_back(selection), *_results(action, changed, uncertain, held, here=here, finished=finished))


def _asked(form: MultiDict[str, str]) -> tuple[Action, Selection]:
    action = ACTIONS.get(form.get("action", ""))
    if action is None:
        abort(400, f"There is no such action. Choose one of these: {', '.join(ACTIONS)}.")
    if not may_here(action.right):
        abort(403, f"You don't have the right to {action.right} here.")
    everything = form.get("scope") == "all"
    origin = filter_form.cursor(form.get("origin"))
    note = filter_form.note(form)
    ids = () if everything else _ids(form)
    listed = form.get("list", "")[: filter_form.MAX_LIST]
    words, place = filter_form.words(form), filter_form.place(form)
    stopped = False if action.name == "requeue" and form.get("suppressed") != "1" else None
    selection = Selection(ids, words, everything, origin, note, listed, place, stopped)
    if everything and selection.wanted.is_empty:
        abort(400, "All mail would match. Choose a state or another filter first.")
    return action, selection


def _ids(form: MultiDict[str, str]) -> tuple[int, ...]:
    numbers = [filter_form.cursor(text) for text in form.getlist("id")]
    if len(numbers) > MAX_TICKED:
        abort(400, f"At most {MAX_TICKED} messages can be ticked. Use a filter instead.")
    return tuple(number for number in numbers if number is not None)


def _totals(connection: Connection, wanted: Filter, share: int = 1) -> operations.Page:
    """How many match, and the newest of them."""
    return operations.browse(connection, wanted, limit=SAMPLE, cap=CAP, seconds=LOOK_SECONDS / share)


def _left_out(
    action: Action, counts: dict[State, operations.Page], willing: operations.Page, *, suppressed: bool
) -> int:
    """How many could be requeued, had they anything left to say; 0 where not all could be counted."""
    if action.name == "send-now":
        return 0
    able = [page for state, page in counts.items() if action.takes(state, suppressed=suppressed)]
    if not all(page.complete for page in [*able, willing]):
        return 0
    return sum(page.total or 0 for page in able) - (willing.total or 0)


def _change(action: Action, wanted: Filter, note: str | None) -> tuple[int, int, bool]:
    """How many were changed, how many became uncertain instead, and whether that is all of them."""
    deadline = clock.monotonic() + BUDGET_SECONDS
    changed = uncertain = 0
    with operations.guarded(engine()):
        for batch in action.batches(wanted, note):
            changed += len(batch.changed)
            uncertain += len(batch.uncertain)
            if clock.monotonic() > deadline:
                return changed, uncertain, False
    return changed, uncertain, True


def _results(
    action: Action, changed: int, uncertain: int, held: results.Held, *, here: bool, finished: bool
) -> Iterator[results.Result]:
    if changed:
        yield results.changed(changed, action.now, held, this=here)
    elif not uncertain:
        yield results.nothing(action.done)
    if uncertain:
        yield results.uncertain(uncertain)
    if changed and not finished:
        yield results.Result("There are more: repeat this for the rest.", good=False)


def _back(selection: Selection, *, ticked: bool = False) -> str:
    """The page that the form came from: one mail's, or the list with its filter, and with the ticks that were made."""
    if selection.origin is not None:
        kept = filter_form.kept({**selection.words, "list": selection.list})
        return url_for(".mail", id=selection.origin, **kept)
    values: dict[str, Any] = {**selection.words, **selection.place}
    if ticked:
        values["id"] = selection.ids
    return url_for(".mails", **values)


VIEWS = (
    ("/confirm", "confirm", "GET", (Right.VIEW,), confirm),  # and the right of the action
    ("/act", "act", "POST", (Right.VIEW,), act),
)
