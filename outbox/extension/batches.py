"""`mail.batch`: many messages under one name, committed in portions; a run that stopped goes on where it was."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import flask_mail
from sqlalchemy.orm import Session

from outbox.core import tracing
from outbox.core.errors import MessageError
from outbox.core.events import logger
from outbox.delivery.batch_states import BatchState
from outbox.extension.many import Prepared
from outbox.extension.options import SharedOptions, check_names, label, takes
from outbox.extension.samples import TAKING
from outbox.extension.state import Bound
from outbox.store import batches as store
from outbox.store.batches import Filling, Wanted
from outbox.store.reading import reading

if TYPE_CHECKING:  # most requests have no use for the rest
    from outbox.operations.batches import BatchRow

Made = flask_mail.Message | Callable[[], flask_mail.Message]
"""A message, or a function that makes it: called only where it is not enqueued yet."""

Item = tuple[str, Made] | tuple[str, Made, Mapping[str, Any]]
"""A key within the batch, the message, and options of `enqueue` of its own."""

PORTION = 500
LONGEST_NAME = 100
LONGEST_KEY = 150


class Batching:
    """What an `Outbox` has of batches."""

    _bound: Callable[..., Bound]

    @takes(SharedOptions)
    def batch(self, name: str, *, expected: int | None = None, **options: Unpack[SharedOptions]) -> Batch:
        """Many messages under one name: a newsletter. Nothing is written before its `enqueue`.

        `name`: unique in its environment, up to 100 characters. `expected`: how many messages it will have, for the
        share done, and for a canary that begins before all is enqueued. The options are those of `enqueue_many`, for
        all of its messages. Raises MessageError.
        """
        check_names(options, SharedOptions, "batch")
        if label("batch", name, LONGEST_NAME) is None:
            raise MessageError("batch", "has no name", "Give a text, such as newsletter-7.")
        return Batch(self._bound, name, expected, options)


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of the current application. What it does is committed at once, in sessions of its own."""

    _bound: Callable[..., Bound]
    name: str
    expected: int | None
    options: SharedOptions

    def enqueue(
        self,
        items: Iterable[Item],
        *,
        portion: int = PORTION,
        refused: Callable[[str, MessageError], object] | None = None,
    ) -> BatchRow:
        """Enqueue all of `items`, a portion at a time, each in a transaction of its own; how far the batch is then.

        `items`: pairs `(key, message)`, or triples with options of the message's own; for `message` also a function
        that returns it. `key`: text, unique in the batch; it makes the run repeatable: a key that is enqueued is left
        out, and its function not called. So a run that was killed is run again, with the same items. Once all are
        enqueued the batch is filled: later calls read nothing of `items`. `portion`: messages in one transaction.
        `refused`: called with the key and the MessageError of what can't be composed, which is left out; without it
        the first raises, and what was committed before stays.

        Of the application's session `items` may read; what that has written and not committed may be locked, so commit
        before. Raises MessageError, and what `items` raises.
        """
        bound = self._bound()
        if TAKING.get() is not None:
            raise RuntimeError("A preview makes one message: return it, instead of filling a batch.")
        run = _Run(self, bound, refused)
        iterator = iter(items)
        while not run.is_over and (some := list(itertools.islice(iterator, portion))):
            with tracing.Sending(self.options.get("kind")) as span:
                span.wrote_many(run.write(some))
        run.end()
        return self._found(bound)

    def progress(self) -> BatchRow | None:
        """How far it is: `state`, `messages`, `deliveries`, `counts` by state, `share_done`; None before `enqueue`."""
        try:
            return self._found(self._bound())
        except LookupError:
            return None

    def _found(self, bound: Bound) -> BatchRow:
        from outbox.operations import batches

        with reading(bound.sessions.engine()) as connection:
            found = batches.named(connection, self.name, bound.settings.environment)
        if found is None:
            raise LookupError(f"there is no batch {self.name!r}")
        return found

    def cancel(self, *, by: str = "application", note: str | None = None) -> int:
        """Add nothing more, and cancel what is queued; how many deliveries. What was sent stays.

        A run that is under way ends before its next portion. Raises LookupError before `enqueue`.
        """
        from outbox.operations import batches

        bound = self._bound()
        changes = batches.cancel(bound.sessions.engine(), self.name, bound.settings.environment, by=by, note=note)
        return sum(len(one.changed) for one in changes)

    def pause(self, *, reason: str = "", by: str = "application") -> None:
        """Hold back what is queued until `resume`, or `outbox-resume --batch`. More may be enqueued meanwhile."""
        from outbox.operations import pauses

        bound = self._bound()
        with bound.sessions.engine().begin() as connection:
            pauses.pause(
                connection,
                pauses.What.BATCH,
                self.name,
                by=by,
                reason=reason,
                environment=bound.settings.environment,
            )

    def resume(self, *, by: str = "application") -> bool:
        """Lift its pause, also one that its canary set; whether there was one."""
        from outbox.operations import pauses

        bound = self._bound()
        with bound.sessions.engine().begin() as connection:
            lifted = pauses.resume(
                connection, pauses.What.BATCH, self.name, by=by, environment=bound.settings.environment
            )
        return bool(lifted)


class _Run:
    """One run over the items of a batch."""

    def __init__(self, batch: Batch, bound: Bound, refused: Callable[[str, MessageError], object] | None) -> None:
        self._name, self._bound, self._refused = batch.name, bound, refused
        self._options = batch.options
        self._environment = bound.settings.environment
        self._engine = bound.sessions.engine()
        policy = bound.kinds.policy(batch.options.get("kind"), strict=bound.settings.kinds_strict)
        canary = None if policy is None else policy.canary
        if canary is not None and batch.options.get("send_at") is not None:
            raise _no_send_at(batch.name)
        with Session(self._engine) as session, session.begin():
            self._id = store.begin(
                session.connection(),
                Wanted(
                    self._environment,
                    batch.name,
                    kind=batch.options.get("kind"),
                    expected=batch.expected,
                    canary_share=canary,
                    canary_limit=0.1 if policy is None or policy.canary_limit is None else policy.canary_limit,
                    canary_wait=0.0 if policy is None or policy.canary_wait is None else policy.canary_wait,
                ),
            )
            self.is_over = self._locked(session) is None

    def write(self, items: list[Item]) -> int:
        """Compose a portion, then write what of it is not there, in one transaction; how many messages."""
        by_key = {self._key(one): one for one in items}
        with reading(self._engine) as connection:
            known = store.taken(connection, self._environment, list(by_key))
        wanted = {key: one for key, one in by_key.items() if key not in known}
        keys, without, tell = list(wanted), 0, self._refused

        def refused(number: int, error: MessageError) -> None:
            nonlocal without
            without += 1
            if tell is not None:
                tell(keys[number].removeprefix(f"{self._name}:"), error)

        made = self._bound.prepare_many(
            (_asked(key, one) for key, one in wanted.items()),
            self._options,
            refused=None if tell is None else refused,
        )
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            batch = self._locked(session)
            if batch is None:
                self.is_over = True
                return 0
            connection = session.connection()
            forms = [key for one in made for key in (one.posted.key, one.posted.also_key) if key is not None]
            now_known = store.taken(connection, self._environment, forms)  # a key may be stored as its hash
            new = (one for one in made if now_known.isdisjoint((one.posted.key, one.posted.also_key)))
            fresh = list(self._placed(batch, list(new)))
            self._bound.write_many(fresh, session)
            store.add(
                connection,
                batch,
                messages=len(fresh),
                deliveries=sum(len(one.composed.recipients) for one in fresh),
                refused=without,
            )
        return len(fresh)

    def end(self) -> None:
        """All items were read: nothing more is added."""
        if self.is_over:
            return
        with Session(self._engine) as session, session.begin():
            if (batch := self._locked(session)) is not None:
                store.fill(session.connection(), batch)
                logger.info("batch %s is filled: %d deliveries", self._name, batch.deliveries)
        self.is_over = True

    def _locked(self, session: Session) -> Filling | None:
        """The batch, as long as more may be added."""
        batch = store.locked(session.connection(), self._id)
        return batch if batch is not None and batch.state is BatchState.FILLING else None

    def _placed(self, batch: Filling, made: list[Prepared]) -> Iterator[Prepared]:
        before = 0
        for one in made:
            held = batch.held(before)
            if held and one.posted.send_at is not None:
                raise _no_send_at(self._name)
            yield replace(one, posted=replace(one.posted, batch=batch.id, held=held))
            before += len(one.composed.recipients)

    def _key(self, item: Item) -> str:
        key = label("key", item[0], LONGEST_KEY)
        if key is None:
            raise MessageError("key", "is None", "Give each item of a batch a key of its own, such as the reader's id.")
        return f"{self._name}:{key}"


def _asked(key: str, item: Item) -> tuple[flask_mail.Message, dict[str, Any]]:
    own = dict(item[2]) if len(item) == 3 else {}
    message = item[1]
    return (message if isinstance(message, flask_mail.Message) else message()), {**own, "key": key}


def _no_send_at(name: str) -> MessageError:
    return MessageError(
        "send_at",
        f"is given for the batch {name!r}, whose kind has a canary: what waits for it is sent when it has ended",
        "Enqueue the batch at that time, or give a kind without canary.",
    )
