"""The operators' commands, on `manage.py` and on every application's `flask` by the entry points in pyproject.toml."""
