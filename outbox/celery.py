"""The outbox on Celery (`pip install flask-outbox[celery]`)."""

from __future__ import annotations

try:
    import celery as _  # noqa: F401 - absolute: Celery's own
except ImportError:
    raise ImportError("outbox.celery needs Celery: pip install flask-outbox[celery]") from None

from outbox.worker.on_celery import connect

__all__ = ["connect"]
