from flask import Blueprint, redirect, request

from app import db
from app.email import send_email, send_password_reset_email
from app.models import User

bp = Blueprint("main", __name__)


@bp.post("/register")
def register():
    user = User(username=request.form["username"], email=request.form["email"])
    db.session.add(user)
    db.session.commit()
    send_email("[Microblog] Welcome", "admin@example.com", [user.email], f"Hello {user.username}", "<p>Hello</p>")
    return redirect("/login")


@bp.post("/reset_password_request")
def reset_password_request():
    user = db.session.scalar(db.select(User).filter_by(email=request.form["email"]))
    if user:
        send_password_reset_email(user)
    return redirect("/login")
