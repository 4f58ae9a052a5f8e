"""What every room uses: errors, the clock, events and loggers, wake-ups, the wish to shut down. Pure Python."""
