"""The package's loggers, which `logging.config` does not disable as a side effect."""

from __future__ import annotations

import logging


class Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger that stays enabled after a `dictConfig` that does not name it.

    `dictConfig` and `fileConfig` disable every logger that exists and is not in the configuration, unless they are
    told `disable_existing_loggers=False`: Flask's documentation and Alembic's `env.py` do not say so. A lost message
    would leave no line. Levels, handlers, filters and `propagate` work as usual.
    """

    def isEnabledFor(self, level: int) -> bool:
        """Whether a line of this level is logged, as for any logger."""
        self.logger.disabled = False
        return self.logger.isEnabledFor(level)

    def tell(self, level: int, told: object) -> None:
        """Log an object, which becomes text only where somebody reads it: as `log`, but nobody looks for the caller,
        who is always the same, which is a third of a line's cost."""
        if self.isEnabledFor(level):
            logger = self.logger
            logger.handle(logger.makeRecord(logger.name, level, __file__, 0, "%s", (told,), None, "tell"))


def get_logger(name: str = "outbox") -> Logger:
    """The logger `name`, which is "outbox" or below it."""
    return Logger(logging.getLogger(name), {})
