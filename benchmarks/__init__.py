"""What it costs and how fast it is: `make bench`, `make soak`. docs/performance.md has the figures."""
