"""The process: its loop, threads, heartbeat and scheduler, and each delivery's way from the claim to the record."""
