"""Database servers for the tests: started on a free port of 127.0.0.1, gone at the end of the session."""
