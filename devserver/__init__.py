"""What `make run` starts: the application, one worker, and two local relays whose mail can be read in the browser.

For development only; it is not part of the installed package.
"""

HOST = "127.0.0.1"
"""What all of them listen on."""
