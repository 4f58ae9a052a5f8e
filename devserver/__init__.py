"""What `make run` starts: the application, one worker, and a local SMTP server whose mail can be read in the browser.

For development only; it is not part of the installed package.
"""
