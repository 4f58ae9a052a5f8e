"""The Flask extensions, not bound to an application yet."""

from __future__ import annotations

from flask_login import LoginManager
from flask_wtf import CSRFProtect

from outbox import Outbox

mail = outbox = Outbox()
login_manager = LoginManager()
csrf = CSRFProtect()
