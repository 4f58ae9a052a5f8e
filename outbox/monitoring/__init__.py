"""What a machine asks a worker: health, counters, Prometheus's text."""
