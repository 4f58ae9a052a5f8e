"""A transactional outbox for mail in Flask applications."""
