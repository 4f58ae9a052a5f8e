"""Spans by OpenTelemetry: one where mail is enqueued, one for each attempt to deliver it, all in one trace.

OpenTelemetry is not imported here: an application that sets a provider of tracers has done so. Where none is set, each
call costs a look into a dictionary. No address, no subject and no reply is in an attribute.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from outbox.core import clock
from outbox.core.loggers import get_logger
from outbox.core.version import VERSION

Carrier = Mapping[str, str]
"""Which span a message was enqueued in, by W3C Trace Context: `traceparent`, and `tracestate` where there is one."""

_MODULE = "opentelemetry.trace"
_SYSTEM = "outbox"
_log = get_logger("outbox.tracing")
_known: tuple[Any, Any] | None = None  # the provider that was seen last, and our tracer of it


class Sending:
    """The span of one call that enqueues. Without a provider it does nothing."""

    __slots__ = ("_found", "_kind", "_span", "_used")

    def __init__(self, kind: object) -> None:
        self._kind = kind
        self._found = _tracing()
        self._span: Any = None

    def __enter__(self) -> Sending:
        if self._found is not None:
            trace, tracer = self._found
            self._span = tracer.start_span(
                _named("send", self._kind), kind=trace.SpanKind.PRODUCER, attributes=_attributes("send", self._kind)
            )
            self._used = trace.use_span(self._span, record_exception=False, set_status_on_exception=False)
            self._used.__enter__()
        return self

    def __exit__(self, of: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._found is not None:
            self._used.__exit__(None, None, None)
            if of is not None:
                _failed(self._found[0], self._span, of.__name__)
            self._span.end()

    def wrote(self, message_id: str, size: int) -> None:
        """The one message that was enqueued. `size`: bytes."""
        if self._span is not None:
            self._span.set_attributes({"messaging.message.id": message_id, "messaging.message.envelope.size": size})

    def wrote_many(self, number: int) -> None:
        """So many messages."""
        if self._span is not None:
            self._span.set_attribute("messaging.batch.message_count", number)


def carrier() -> dict[str, str] | None:
    """The span that is current, to be stored with a message; None without a provider, or a span."""
    found = _tracing()
    if found is None:
        return None
    trace = found[0]
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    ids = f"{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"
    kept = {"traceparent": f"00-{ids}-{int(context.trace_flags):02x}"}
    state = context.trace_state.to_header() if context.trace_state else ""
    return {**kept, "tracestate": state} if state else kept


def is_on() -> bool:
    """Whether anybody wants spans."""
    return _tracing() is not None


def attempted(
    stored: Carrier | None,
    kind: str | None,
    facts: Mapping[str, str | int | None],
    *,
    seconds: float,
    error: str | None,
) -> None:
    """The span of an attempt that ended now and took `seconds`. `stored`: what `carrier` gave.

    `facts`: attributes; None: not known. `error`: the class of what went wrong. Never raises: it is no reason to
    forget what became of the mail.
    """
    found = _tracing()
    if found is None:
        return
    trace, tracer = found
    try:
        parent, ended = _context(trace, stored), clock.epoch_ns()
        span = tracer.start_span(
            _named("process", kind),
            context=trace.set_span_in_context(trace.INVALID_SPAN if parent is None else trace.NonRecordingSpan(parent)),
            kind=trace.SpanKind.CONSUMER,
            attributes=_attributes("process", kind) | {name: fact for name, fact in facts.items() if fact is not None},
            links=[] if parent is None else [trace.Link(parent)],
            start_time=ended - int(seconds * 1e9),
        )
        if error is not None:
            _failed(trace, span, error)
        span.end(ended)
    except Exception:  # noqa: BLE001 - of a sampler, or a processor of spans
        _log.warning("a span could not be written", exc_info=_log.isEnabledFor(logging.DEBUG))


def _tracing() -> tuple[Any, Any] | None:
    """OpenTelemetry's module and our tracer; None where no provider is set."""
    global _known
    trace = sys.modules.get(_MODULE)
    if trace is None or not hasattr(trace, "get_tracer_provider"):  # the latter: it is being imported just now
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    known = _known
    if known is None or known[0] is not provider:
        _known = known = provider, provider.get_tracer("outbox", VERSION)
    return trace, known[1]


def _context(trace: Any, stored: Carrier | None) -> Any:
    """The span that a message was enqueued in; None where that is not known."""
    parts = str((stored or {}).get("traceparent", "")).split("-")
    if stored is None or len(parts) != 4:
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:])
        state = trace.TraceState.from_header([stored.get("tracestate", "")])
        context = trace.SpanContext(
            trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags), trace_state=state
        )
    except (ValueError, TypeError):
        return None
    return context if context.is_valid else None


def _named(operation: str, kind: object) -> str:
    return f"{operation} {kind}" if isinstance(kind, str) and kind else operation


def _attributes(operation: str, kind: object) -> dict[str, Any]:
    """Of the semantic conventions for messaging."""
    common = {
        "messaging.system": _SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    return {**common, "messaging.destination.name": kind} if isinstance(kind, str) and kind else common


def _failed(trace: Any, span: Any, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(trace.StatusCode.ERROR)
