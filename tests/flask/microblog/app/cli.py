from flask import Blueprint

from app import db
from app.email import send_email
from app.models import User

bp = Blueprint("cli", __name__, cli_group=None)


@bp.cli.command("export-posts")
def export_posts():
    for user in db.session.scalars(db.select(User)):
        send_email("[Microblog] Your blog posts", "admin@example.com", [user.email], "Attached.", "<p>Attached.</p>")
