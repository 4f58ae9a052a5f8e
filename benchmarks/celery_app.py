"""The reference application with Celery beside it, for the figures of `benchmarks.celery`.

DATABASE_URL=… BROKER_URL=… celery -A benchmarks.celery_app worker
"""

from __future__ import annotations

import os

import celery

import outbox.celery
from app import create_app

flask_app = create_app(environ=os.environ)
celery_app = celery.Celery("ours", broker=os.environ["BROKER_URL"])
outbox.celery.connect(celery_app, flask_app)
