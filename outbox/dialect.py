"""The former name of `outbox.store.dialect`, for code that uses it; it goes before the first release."""

import sys

from outbox.store import dialect

sys.modules[__name__] = dialect
