"""gunicorn --config gunicorn.conf.py app:app, behind nginx/shop.conf."""

bind = "unix:/run/shop/gunicorn.sock"
worker_class = "gthread"
workers = 2
threads = 4
# A worker in the web process (OUTBOX_IN_PROCESS) has five seconds less than this to finish what it is sending: room for
# OUTBOX_SHUTDOWN_SECONDS (30) and ten. The service manager must leave more time still.
graceful_timeout = 45
# A process that does not report for so long is killed, with the mail that is being sent there.
timeout = 60
accesslog = "-"
