"""The application of the stories with Celery beside it: what `celery -A tests.story.celery_app` loads."""

from __future__ import annotations

import os

from celery import Celery
from flask import Flask

import outbox.celery
from tests.story import handlers_app
from tests.story.worker_app import create_app


def create_celery(flask_app: Flask, broker: str) -> Celery:
    """A Celery application that sends the outbox's mail."""
    made = Celery("stories", broker=broker)
    made.conf.update(
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": 5} if broker.startswith("redis") else {},
        task_acks_late=os.environ.get("ACKS_LATE") == "1",
        worker_send_task_events=False,
    )
    outbox.celery.connect(made, flask_app)
    return made


if "BROKER_URL" in os.environ:
    flask_app = (handlers_app.create_app if "STORY_HANDLERS" in os.environ else create_app)()
    celery_app = create_celery(flask_app, os.environ["BROKER_URL"])
