"""What every room uses: errors, the clock, events and loggers, wake-ups, shutdown requests. Pure Python."""
