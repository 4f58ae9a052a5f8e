"""The text around the tables of docs/configuration.md."""

from __future__ import annotations

HEAD = """\
# Configuration

<!-- Written by `python -m outbox.settings.docs > docs/configuration.md`; a test keeps it up to date. -->

`Outbox.init_app` reads `app.config` once, into a frozen object. It reads no environment variables itself; an
application that keeps its settings there copies them:

```python
import os

from outbox import Settings

app.config.update(Settings.from_env(os.environ))  # MAIL_* and OUTBOX_*, nothing else
app.config.from_prefixed_env()  # or Flask's own: FLASK_MAIL_SERVER, FLASK_OUTBOX_CONNECTIONS, …
```

Flask's own parses each value as JSON where it can: a password such as `1e5` or `true` must be in double quotes there.

All faults are reported at once, in one `ConfigurationError`: values out of their range, settings that contradict each
other, `OUTBOX_*` keys that do not exist, and misspelt `MAIL_*` keys (`MAIL_SERVR` while `MAIL_SERVER` is not set).
Other `MAIL_*` keys are another package's or the application's own and are left alone. `flask outbox-check` shows the
same.

- Numbers and booleans may be strings, as in an environment; `"false"`, `"no"`, `"off"` and `"0"` mean false.
- Times are seconds; fractions are allowed, a `timedelta` too. Sizes are bytes.
- `None` and blank strings mean unset; blank `OUTBOX_REDIRECT_TO` and `OUTBOX_ALLOW_RECIPIENTS` are faults
  ([staging](staging.md)).
- Secrets belong in the environment, not in the source. No error, log line or `repr` shows them.
- In a `.env` file, python-dotenv and the `flask` command read `${...}` as a variable, even in quotes; one that is not
  set is replaced by an empty string. If a password contains `${`, set `FLASK_SKIP_DOTENV=1` in the environment and
  load the file literally: `app.config.update(Settings.from_env(dotenv_values(".env", interpolate=False)))`.
  `flask outbox-check` says which setting was changed.

"""

MAIL = """\
## Flask-Mail's settings

They keep their names, meaning and defaults. With nothing configured, mail goes to localhost, port 25, without TLS or
log-in. To any other machine, plain text needs `OUTBOX_ALLOW_PLAINTEXT=true`, and so does a password over plain text.

"""

OUTBOX = """\
## The outbox's own settings

"""

TAIL = """\
## How settings depend on each other

- `OUTBOX_SEND_TIMEOUT_SECONDS` must be below `OUTBOX_LEASE_SECONDS`; setting one moves the other's default.
- `OUTBOX_DEAD_AFTER_SECONDS` must be above `OUTBOX_HEARTBEAT_SECONDS`; setting one moves the other's default.
- `MAIL_USE_TLS` and `MAIL_USE_SSL` exclude each other; `MAIL_USERNAME` and `MAIL_PASSWORD` must be set together.
- A message's `on_uncertain` takes precedence over `OUTBOX_ON_UNCERTAIN_KINDS`, that over the policy of the
  [kind](kinds.md), and that over `OUTBOX_ON_UNCERTAIN`.
- In an environment, `OUTBOX_TEST_*` (the project's tests), `OUTBOX_SERVICE_*`, `OUTBOX_PORT` and `OUTBOX_PORT_*`
  (Kubernetes sets them for a service named "outbox") are not treated as settings.
"""
