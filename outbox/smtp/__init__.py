"""The parts of the transport: one SMTP session, from the socket to the final dot. Nothing outside imports them."""
