"""What operators do, for the terminal and the pages: look at the outbox's state, find mail, change what became of it.

Everything works on a `sqlalchemy.Connection`, prints nothing and knows no Flask. `connected` and `transaction` give the
connection, and turn what a database may do wrong into the package's own errors.
"""

from __future__ import annotations

from outbox.operations import audit, effects, event_log, events, pauses, slowed, stopped, suppressions
from outbox.operations.again import REPEATABLE, send_again
from outbox.operations.ages import Shape, ShapeRow, shape
from outbox.operations.alarms import Alarms
from outbox.operations.application_engine import another_database, apart, place, several_databases
from outbox.operations.browse import Page, browse
from outbox.operations.conditions import Waits, domain_instead
from outbox.operations.connect import (
    check_schema,
    connected,
    guarded,
    missing,
    now,
    outdated,
    server,
    session,
    transaction,
    unmigrated,
    where,
)
from outbox.operations.correct_recipient import CORRECTABLE, correct_recipient
from outbox.operations.create import create_tables, has_history
from outbox.operations.delays import Delays
from outbox.operations.diagnose import diagnose, within
from outbox.operations.failures import deferred, failures
from outbox.operations.filters import NO_KIND, Filter
from outbox.operations.find import Attempt, Detail, Row, Sibling, count, find, recipients, show, wire
from outbox.operations.finding import Finding
from outbox.operations.flow import Known, Span, flow
from outbox.operations.gauges import GAUGE_CAP, Gauges, database_time, gauges
from outbox.operations.health import FailureGroup, Status, Transport, Worker
from outbox.operations.kinds import KindRow, Kinds, kinds
from outbox.operations.looks import READ, note_look
from outbox.operations.outcomes import Group, Outcomes
from outbox.operations.problems import Kind, state_words
from outbox.operations.purge import purge, purgeable
from outbox.operations.purger import Purger
from outbox.operations.recording import check_recording
from outbox.operations.redact import PUBLIC_HEADERS, Redactor
from outbox.operations.redact_failed import FailedRedactor
from outbox.operations.reschedule import deliveries_of, reschedule, send_now, send_now_in_batches, to_send_now
from outbox.operations.status import status, workers
from outbox.operations.tables import environments
from outbox.operations.times import duration, parse_duration, parse_moment, spelled
from outbox.operations.transitions import Batch, cancel, eligible, in_batches, mark_sent, requeue
from outbox.operations.unsent import left_due
from outbox.operations.worker_requests import Ask, ask_to_end

__all__ = [
    "Batch",
    "CORRECTABLE",
    "NO_KIND",
    "PUBLIC_HEADERS",
    "REPEATABLE",
    "READ",
    "Alarms",
    "Ask",
    "Delays",
    "Attempt",
    "Detail",
    "FailedRedactor",
    "FailureGroup",
    "Filter",
    "Finding",
    "Group",
    "Kind",
    "KindRow",
    "Kinds",
    "Known",
    "Outcomes",
    "Page",
    "GAUGE_CAP",
    "Gauges",
    "Purger",
    "Redactor",
    "Row",
    "Shape",
    "ShapeRow",
    "Sibling",
    "Span",
    "Status",
    "Transport",
    "Waits",
    "Worker",
    "another_database",
    "apart",
    "ask_to_end",
    "audit",
    "browse",
    "cancel",
    "check_recording",
    "check_schema",
    "connected",
    "correct_recipient",
    "count",
    "create_tables",
    "database_time",
    "diagnose",
    "domain_instead",
    "deferred",
    "deliveries_of",
    "duration",
    "eligible",
    "effects",
    "environments",
    "event_log",
    "events",
    "failures",
    "find",
    "gauges",
    "flow",
    "guarded",
    "has_history",
    "in_batches",
    "kinds",
    "left_due",
    "mark_sent",
    "missing",
    "note_look",
    "now",
    "outdated",
    "parse_duration",
    "parse_moment",
    "pauses",
    "slowed",
    "place",
    "purge",
    "purgeable",
    "recipients",
    "requeue",
    "reschedule",
    "send_again",
    "send_now",
    "send_now_in_batches",
    "server",
    "session",
    "several_databases",
    "shape",
    "show",
    "spelled",
    "state_words",
    "status",
    "suppressions",
    "stopped",
    "to_send_now",
    "transaction",
    "unmigrated",
    "where",
    "wire",
    "within",
    "workers",
]
