"""The database: tables, schema, engines, and the SQL of the hot paths (enqueue, claim, record)."""
