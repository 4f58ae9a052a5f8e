"""What `celery -A examples.celery_worker worker` loads: the application of celery_app.py, made once for its tasks."""

from examples.celery_app import create_app

celery_app = create_app().extensions["celery"]
