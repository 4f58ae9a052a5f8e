"""The Flask face: `Outbox`, whose transaction the mail is written in, and what a request leaves uncommitted."""
