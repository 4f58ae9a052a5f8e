"""Transports over HTTPS: one kept connection, and the services that are reached by it."""
