from flask import current_app
from flask_login import UserMixin
from itsdangerous import URLSafeTimedSerializer

from app import db, login


class User(UserMixin, db.Model):
    id = db.Column(db.Integer, primary_key=True)
    username = db.Column(db.String(64), index=True, unique=True)
    email = db.Column(db.String(120), index=True, unique=True)

    def get_reset_password_token(self):
        return URLSafeTimedSerializer(current_app.config["SECRET_KEY"]).dumps(self.id)


@login.user_loader
def load_user(id):
    return db.session.get(User, int(id))
