"""Why a worker has fewer connections at work than it might: what the status notes of it."""

from __future__ import annotations

from collections.abc import Iterator

from outbox.operations.health import Status, Transport
from outbox.operations.times import sentence, spelled


def few_connections(seen: Status) -> Iterator[str]:
    """In sentences, some of them more than once."""
    yield from _not_admitted(seen)
    yield from _without(seen)
    yield from _ramps(seen)


def _not_admitted(seen: Status) -> Iterator[str]:
    """Of relays that admit fewer connections than a worker has, which goes on with those."""
    own = {worker.id: worker.connections for worker in seen.workers}
    for one in seen.transports:
        most = own.get(one.worker_id, 0) if one.connections_most is None else one.connections_most
        if one.state == "up" and one.connections_reply and one.connections is not None and one.connections < most:
            yield (
                f"relay {one.shown} lets in {one.connections} of the {most} connections of a worker, which goes on "
                f"with {'this' if one.connections == 1 else 'these'}: {sentence(one.connections_reply)} "
                "Lower OUTBOX_CONNECTIONS, or ask for a higher limit"
            )


def _without(seen: Status) -> Iterator[str]:
    """Of workers that have none of the connections which all may have together."""
    for one in seen.transports:
        if one.state == "up" and one.connections_share == 0:
            yield (
                f"worker {one.worker_id} has no connection to {one.shown}: others have all that are allowed to all "
                "workers together (OUTBOX_TOTAL_CONNECTIONS)"
            )


def _ramps(seen: Status) -> Iterator[str]:
    """Of transports by which a backlog goes out at a pace."""
    by_name: dict[str, list[Transport]] = {}
    for one in seen.transports:
        if one.state == "up" and one.ramp_seconds:
            by_name.setdefault(one.shown, []).append(one)
    for name, several in by_name.items():
        first = max(several, key=lambda one: one.ramp_seconds)
        yield (
            f"the backlog of {name} goes out at a pace: {first.ramp_connections} of the {first.connections_most} "
            f"connections of a worker, all of them in {spelled(max(1.0, first.ramp_seconds))} (OUTBOX_RAMP)"
        )
