"""The former name of `outbox.core.clock`, for code that uses it; it goes before the first release."""

import sys

from outbox.core import clock

sys.modules[__name__] = clock
