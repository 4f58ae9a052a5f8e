"""The former name of `outbox.core.errors`, for code that uses it; it goes before the first release."""

import sys

from outbox.core import errors

sys.modules[__name__] = errors
