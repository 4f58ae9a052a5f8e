"""What a reply means and what follows from it: states, verdicts, retry, blame. Pure: no SQL, no sockets, no Flask."""
