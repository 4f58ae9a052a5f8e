"""What `outbox-check --dns` looks at: what the DNS says about the domains that mail comes from."""
