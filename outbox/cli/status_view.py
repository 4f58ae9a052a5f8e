"""The status as people read it: what is wrong first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from outbox.cli.console import Console
from outbox.cli.options import COLOURS, moment, number
from outbox.cli.output import safe
from outbox.cli.tables import Column, print_pairs, print_table
from outbox.cli.text import Text
from outbox.core import clock
from outbox.delivery.states import Lane, State
from outbox.operations import FailureGroup, Shape, ShapeRow, Status, Transport, Worker, duration, state_words
from outbox.operations.reported_shares import described

SMALL = 30
"""Up to so many lines a terminal is small."""


SHARES_SHOWN = 6
"""Of senders' domains and transports, what was complained about or bounced: the largest shares."""

BRIEF = {"!": 2, "-": 1}
"""How many lines a problem, and a note, may take where the screen has too few for all of it."""


def print_status(out: Console, seen: Status, aside: str = "", *, brief: bool = False) -> None:
    """All of it, within the terminal's width. `aside`: words after the time; `brief`: problems and notes are cut."""
    word = Text("healthy", "bold green") if seen.healthy else Text("degraded", "bold red")
    _headline(out, Text("The outbox is ") + word, seen.at, aside)
    _problems(out, seen, brief=brief)
    _mail(out, seen)
    _ended(out, seen)
    _reported(out, seen)
    _workers(out, seen)
    _transports(out, seen)
    _failures(out, seen)


def print_unknown(out: Console, problem: str, aside: str = "") -> None:
    """What is shown where it can't be found out."""
    _headline(out, Text("The state of the outbox is ") + Text("unknown", "bold red"), clock.utcnow(), aside)
    print_pairs(out, [("!", Text(safe(problem), style="red"))])


def _headline(out: Console, words: Text, at: datetime, aside: str) -> None:
    out.print(words + Text("  ".join(["", moment(at), aside]).rstrip(), "dim"))


def _problems(out: Console, seen: Status, *, brief: bool) -> None:
    marked = [("!", Text(safe(words), style="red")) for words in seen.problems]
    marked += [("-", Text(safe(words), style="yellow")) for words in seen.notes]
    if marked:
        print_pairs(out, marked, most=[BRIEF[mark] for mark, _ in marked] if brief else None)


def _mail(out: Console, seen: Status) -> None:
    _gap(out)
    numbers = [(state, seen.states[state]) for state in State]
    print_table(
        out,
        [Column(state, right=True) for state, _ in numbers],
        [[Text(number(n, seen.count_cap), style=COLOURS[state] if n else "dim") for state, n in numbers]],
    )
    _gap(out)
    print_pairs(out, [(name, Text(words)) for name, words in _rates(seen)])


def _rates(seen: Status) -> Iterator[tuple[str, str]]:
    yield "due now", number(seen.due_now, seen.count_cap) + _till_drained(seen)
    yield "deferred", number(seen.deferred, seen.count_cap)
    if seen.oldest_due_seconds is not None:
        lanes = [f"{lane} {duration(age)}" for lane in Lane if (age := seen.oldest_due_by_lane[lane]) is not None]
        yield "oldest due", f"{duration(seen.oldest_due_seconds)} ({', '.join(lanes)})"


def _till_drained(seen: Status) -> str:
    if seen.drain_seconds is None:
        return ""
    span = "minute" if seen.sent_last_minute else "hour"
    about = "over" if seen.due_now > seen.count_cap else "about"
    return f" ({about} {duration(seen.drain_seconds)} to drain, as fast as in the last {span})"


def _ended(out: Console, seen: Status) -> None:
    """What ended, in three spans."""
    rows = (
        ("sent", "green", (seen.sent_last_minute, seen.sent_last_hour, seen.sent_last_day)),
        ("failed", "red", (seen.failed_last_minute, seen.failed_last_hour, seen.failed_last_day)),
        ("deferred", "yellow", (seen.deferred_last_minute, seen.deferred_last_hour, seen.deferred_last_day)),
    )
    _gap(out)
    print_table(
        out,
        [Column("  LAST"), *(Column(span, right=True) for span in ("MINUTE", "HOUR", "DAY"))],
        [
            [Text(f"  {name}"), *(Text(number(n, seen.count_cap), style=colour if n else "dim") for n in numbers)]
            for name, colour, numbers in rows
        ],
    )


def _reported(out: Console, seen: Status) -> None:
    """What came back in the last day, and what handlers and webhooks are still to do; nothing where there is none."""
    words = [f"{number(n, seen.count_cap)} {name}" for name, n in sorted(seen.events_last_day.items())]
    waiting, failed = (sum(getattr(one, name) for one in seen.effects) for name in ("waiting", "given_up"))
    pairs = [("reported, last day", ", ".join(words))] if words else []
    pairs += [("", described(one)) for one in seen.reported[:SHARES_SHOWN]]
    if seen.suppressions:
        pairs.append(("suppressions", number(seen.suppressions, seen.count_cap)))
    if waiting or failed:
        pairs.append(
            ("effects", f"{number(waiting, seen.count_cap)} waiting, {number(failed, seen.count_cap)} given up")
        )
    if seen.digests:
        items, recipients = (sum(getattr(one, name) for one in seen.digests) for name in ("items", "recipients"))
        to = "recipient" if recipients == 1 else "recipients"
        pairs.append(("digests", f"{number(items)} waiting for {number(recipients)} {to}"))
    if pairs:
        _gap(out)
        print_pairs(out, [(name, Text(safe(said))) for name, said in pairs])


def _workers(out: Console, seen: Status) -> None:
    _heading(out, "workers")
    if not seen.workers:
        out.print("  none")
        return
    columns = [
        Column("  ID", right=True),
        Column("HOST", ratio=2),
        Column("PID", right=True),
        Column("VERSION", ratio=1),
        Column("CONN", right=True),
        Column("SENT/S", right=True),
        Column("UP", right=True),
        Column("HEARTBEAT", right=True),
    ]
    rows = [_worker(worker) for worker in seen.workers]
    if any(worker.environment for worker in seen.workers):
        columns.append(Column("ENVIRONMENT", ratio=1))
        rows = [[*row, Text(safe(w.environment), style="dim")] for row, w in zip(rows, seen.workers, strict=True)]
    print_table(out, columns, rows)


def _worker(worker: Worker) -> list[Text]:
    heartbeat = f"{duration(worker.heartbeat_age)} ago"
    return [
        Text(f"  {worker.id}"),
        Text(safe(worker.host)),
        Text(str(worker.pid)),
        Text(safe(worker.version)),
        Text(str(worker.connections)),
        Text("-" if worker.per_second is None or not worker.alive else f"{worker.per_second:.1f}"),
        Text(duration(worker.uptime)),
        Text(heartbeat if worker.alive else f"dead, {heartbeat}", style="green" if worker.alive else "red"),
    ]


def _transports(out: Console, seen: Status) -> None:
    told = {(t.name, t.state, t.error): t for t in seen.transports}.values()
    shown = [one for one in told if not _small(out) or one.state == "up" or seen.rests(one.name)]
    if shown:  # on a small terminal not what is among the problems already
        _heading(out, "transports")
        print_pairs(out, [(f"relay {safe(one.shown)}:", _transport(one, seen)) for one in shown])


def _transport(transport: Transport, seen: Status) -> Text:
    words = Text(safe(state_words(transport, seen.at)), style="green" if transport.state == "up" else "red")
    if seen.rests(transport.name):
        words.append(" (paused)", style="yellow")
    return words


def _failures(out: Console, seen: Status) -> None:
    _groups(out, "failures of the last 24 hours", seen.failures, "red")
    _groups(out, "deferred: will be retried", seen.deferred_groups, "yellow")


def _groups(out: Console, heading: str, groups: Sequence[FailureGroup], colour: str) -> None:
    if not groups:
        return
    _heading(out, heading)
    columns = (
        Column("  COUNT", right=True),
        Column("ERROR"),
        Column("DOMAIN", ratio=1),
        Column("SINCE"),
        Column("REPLY", ratio=2),
    )
    room = 3 if _small(out) else len(groups)
    rows = [
        [
            Text(number(group.count)),
            Text(safe(group.error), style=colour),
            Text(safe(group.domain)),
            Text(group.first.strftime("%d %b %H:%M")),
            Text(safe(group.reply or ""), style="dim"),
        ]
        for group in groups[:room]
    ]
    print_table(out, columns, rows)
    if len(groups) > room:
        out.print(f"  and {len(groups) - room} more groups")


def print_shape(out: Console, shape: Shape) -> None:
    """What waits, by domain and age: T is the total, then how many were enqueued within so many minutes."""
    _heading(out, "queued and sending, by minutes since enqueued")
    bounds = [str(minutes) for minutes in shape.minutes]
    columns = [Column("  DOMAIN", ratio=1), *(Column(head, right=True) for head in ("T", *bounds, f"{bounds[-1]}+"))]
    print_table(out, columns, [_shape_row(row) for row in (shape.total, *shape.domains)])
    if shape.others:
        out.print(f"  and {number(shape.others)} more domains")
    if shape.partial:
        out.print("  (of the oldest mail: there is more than was looked at)")


def _shape_row(row: ShapeRow) -> list[Text]:
    name = Text("  " + (safe(row.domain) or "all"), style="" if row.domain else "bold")
    return [name, *(Text(str(n), style="" if n else "dim") for n in (row.total, *row.ages))]


def _gap(out: Console) -> None:
    """A blank line, where there is room: on a small terminal each line counts."""
    if not _small(out):
        out.print()


def _small(out: Console) -> bool:
    return out.is_terminal and out.height <= SMALL


def _heading(out: Console, words: str) -> None:
    _gap(out)
    out.print(Text(words, style="bold"))
