"""The outbox on Celery (`pip install flask-outbox[celery]`)."""

from __future__ import annotations

try:
    from outbox.worker.on_celery import connect
except ModuleNotFoundError as error:
    if error.name != "celery":
        raise
    raise ImportError("outbox.celery needs Celery: pip install flask-outbox[celery]") from None

__all__ = ["connect"]
