"""SMTP: sockets, TLS, the session, the connection to a relay. It knows nothing of the database."""
