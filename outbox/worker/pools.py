"""The threads of one worker: a pool for each of its transports, which start and end together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from outbox.core.clock import monotonic
from outbox.delivery.staging import Allowed
from outbox.store.held import Held
from outbox.store.pauses import Pause, What
from outbox.store.transports import Known
from outbox.worker.pool import Pool
from outbox.worker.report import Totals
from outbox.worker.router import Router

_LOOKS = 2
"""A look at the queue that had begun before a transport gave back its mail says nothing: the second is a later one."""


class Pools:
    """What a worker does with all of its transports; at least one."""

    def __init__(self, pools: Mapping[str, Pool], router: Router | None = None) -> None:
        """`pools`: by the name of the transport. `router`: chooses between them, where the settings name them."""
        self.router = router
        self._named = pools
        self._pools = list(pools.values())
        self._looks = 0  # that found nothing, after what a transport that went down had was given back
        self._paused: dict[str, set[tuple[What, str]]] = {}  # what people hold back of each transport

    def of(self, transport: str) -> Pool:
        """The threads of one transport."""
        return self._named[transport]

    def start(self) -> None:
        """Begin to claim and send."""
        for pool in self._pools:
            pool.start()

    def nudge(self) -> None:
        """Look at the queue now."""
        for pool in self._pools:
            pool.nudge()

    def hold(
        self, pauses: Collection[Pause], allowed: Allowed | None = None, fitting: frozenset[int] = frozenset()
    ) -> None:
        """Go by these pauses: each by the general ones and its transport's own, which it probes as well.

        `allowed`: those who may get mail; None: everybody. `fitting`: as `Held` has it.
        """
        for name, pool in self._named.items():
            theirs = {(one.what, one.value) for one in pauses if _is_of(one, name)}
            if self._paused.get(name, theirs) - theirs:  # a person's pause has ended: what it held back goes at a pace
                pool.buffer.door.ramp.begin(monotonic())
            self._paused[name] = theirs
            to_probe = [one for one in pauses if one.is_to_probe and one.transport == name]
            pool.hold(replace(Held.by(pauses, {name}), allowed=allowed, fitting=fitting), to_probe)

    def look(self, read: Callable[[], Mapping[str, Known]]) -> None:
        """Take what other workers know of the transports."""
        began, rows = monotonic(), read()
        for pool in self._pools:
            if pool.shared is not None:
                pool.shared.look(rows, began)

    def wait_dry(self, timeout: float) -> bool:
        """Wait until a look at the queue found nothing due and all that was claimed is recorded.

        Where there are several, one that is down keeps nobody waiting: what only it can carry stays due.
        """
        end = monotonic() + timeout
        down = [pool for pool in self._pools if pool.down] if len(self._pools) > 1 else []
        waited = [pool for pool in self._pools if pool not in down]
        is_dry = bool(waited) and all(pool.wait_dry(max(0.0, end - monotonic())) for pool in waited)
        if not is_dry or not all(pool.has_settled(max(0.0, end - monotonic())) for pool in down):
            self._looks = 0
            return False
        if down and self._looks < _LOOKS:
            self._looks += 1
            for pool in waited:
                pool.claimer.dry.clear()
                pool.nudge(again=True)
            return False
        return True

    def stop(self, grace: float) -> bool:
        """Finish what is under way within `grace` seconds, give back the rest; False: not all could be recorded."""
        return all(_at_once([lambda pool=pool: pool.stop(grace) for pool in self._pools]))

    def leave(self) -> None:
        """Begin nothing more, and join nothing: what relays have answered is recorded, if the database lets us."""
        _at_once([pool.leave for pool in self._pools])

    @property
    def down(self) -> bool:
        """Whether no transport can be used now."""
        return all(pool.down for pool in self._pools)

    @property
    def stuck(self) -> frozenset[str]:
        """Routes by which nothing goes now, for the fault of their transports; a person's pause is none."""
        if self.router is None:
            return frozenset()
        return self.router.stuck(
            {name for name, pool in self._named.items() if pool.buffer.is_down and not pool.held.everything}
        )

    @property
    def faulty(self) -> bool:
        """Whether a thread died of a defect: the process must end and be started again."""
        return any(pool.fault.is_set() for pool in self._pools)

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return all(pool.alive for pool in self._pools)

    @property
    def records(self) -> bool:
        """Whether what becomes of mail can be recorded."""
        return all(pool.records for pool in self._pools)

    @property
    def hangs(self) -> str | None:
        """Why connections don't get on."""
        return _first(pool.hangs for pool in self._pools)

    @property
    def hanging(self) -> str | None:
        """The name of a thread that has not ended after a stop."""
        return _first(pool.hanging for pool in self._pools)

    @property
    def totals(self) -> Totals:
        """What all of them have done."""
        return Totals.of([pool.totals for pool in self._pools])

    @property
    def ramps(self) -> tuple[float, ...]:
        """When what had piled up was last let go, by transport."""
        return tuple(pool.buffer.door.ramp.began for pool in self._pools)

    def health(self) -> dict[str, Any]:
        """For the worker's row: transports, counters, faults."""
        said = [pool.health() for pool in self._pools]
        totals = self.totals
        return {
            "transport": said[0]["transport"],
            "transports": [one["transport"] for one in said],
            "counts": dict(totals.counts),
            "lost_leases": totals.lost_leases,
            "suppressed": any(one["suppressed"] for one in said),
            "database": _first(one["database"] for one in said),
            "unserved_routes": sorted(self.router.unserved) if self.router is not None else [],
        }


def _is_of(pause: Pause, transport: str) -> bool:
    """Whether a person holds back mail of this transport by it, and more than one message."""
    ours = pause.what is not What.MESSAGE and not pause.automatic
    return ours and Held.by([pause], {transport}) != Held()


def _first(found: Iterable[str | None]) -> str | None:
    return next((one for one in found if one is not None), None)


def _at_once(calls: Sequence[Any]) -> list[Any]:
    """What the calls return; each in a thread, so that none takes the others' time."""
    if len(calls) == 1:
        return [calls[0]()]
    results: list[Any] = [False] * len(calls)

    def made(number: int) -> None:
        results[number] = calls[number]()

    threads = [threading.Thread(target=made, args=(number,), daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
