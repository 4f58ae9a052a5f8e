"""`inline_image("logo.png")` in templates: images of a folder, which go with the message that names them.

The name becomes `cid:` and the Content-ID of the image's content. When HTML with such a Content-ID is enqueued, the
image is attached; nobody has to hand anything on between rendering and enqueuing. A process keeps the images that its
templates have named, also in their older versions.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, current_app
from werkzeug.security import safe_join

from outbox.core.errors import MessageError, TemplateError
from outbox.message.addresses import sender_of
from outbox.message.draft import Attachment
from outbox.message.image_types import image_type
from outbox.settings import Settings

_KEY = "outbox.images"
_REMEDY = "Name an image by its path within that folder, with slashes; OUTBOX_IMAGES_FOLDER names another folder."


@dataclass(frozen=True, slots=True)
class Image:
    """One version of one file."""

    name: str  # the last part of its path
    content_type: str
    data: bytes
    content_id: str


class Images:
    """Those that an application's templates name."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._folder = _folder(app, settings)
        self._domain = _domain(settings.default_sender)
        self._files: dict[str, tuple[tuple[int, int], Image]] = {}  # by name, with the file's time and size
        self._by_id: dict[str, Image] = {}

    def url(self, name: str) -> str:
        """What `src=` must say for the image `name`. Raises TemplateError."""
        path = None if self._folder is None or "\\" in name or "\0" in name else safe_join(str(self._folder), name)
        if path is None:
            place = "the application has no static folder" if self._folder is None else f"is not within {self._folder}"
            raise TemplateError("inline_image", f"{name!r}: {place}", _REMEDY)
        try:
            status = os.stat(path)
            version = status.st_mtime_ns, status.st_size
            known = self._files.get(name)
            if known is None or known[0] != version:
                known = self._files[name] = version, self._read(name, Path(path))
        except OSError as error:
            raise TemplateError("inline_image", f"{path} can't be read: {error.strerror}", _REMEDY) from error
        return f"cid:{known[1].content_id}"

    def part(self, content_id: str) -> Attachment | None:
        """The image with this Content-ID; None where no template has named it."""
        image = self._by_id.get(content_id)
        if image is None:
            return None
        headers = {"Content-ID": f"<{content_id}>"}
        return Attachment(image.name, image.content_type, image.data, "inline", headers)

    def _read(self, name: str, path: Path) -> Image:
        data = path.read_bytes()
        content_type = image_type(data, name)
        if content_type is None:
            raise TemplateError("inline_image", f"{path} is not an image", "Give a PNG, JPEG or GIF.")
        content_id = f"{hashlib.sha256(data).hexdigest()[:32]}@{self._domain}"
        return self._by_id.setdefault(content_id, Image(path.name, content_type, data, content_id))


def installed(app: Flask, settings: Settings) -> Images:
    """The images of `app`, whose templates know `inline_image` from now on."""
    if _KEY not in app.extensions:
        app.context_processor(_offer)
    made = app.extensions[_KEY] = Images(app, settings)
    return made


def _offer() -> dict[str, Any]:
    """Runs before a template is rendered; as a global, since macros that are imported see no context.

    Not in `init_app`: that would make the Jinja environment before the application has said how.
    """
    current_app.jinja_env.globals.setdefault("inline_image", inline_image)
    return {}


def inline_image(name: str) -> str:
    """For `<img src="{{ inline_image('logo.png') }}">`. Raises TemplateError for what is not an image of the folder."""
    images: Images = current_app.extensions[_KEY]
    return images.url(name)


def _folder(app: Flask, settings: Settings) -> Path | None:
    folder = settings.images_folder if settings.images_folder is not None else app.static_folder
    return None if folder is None else Path(app.root_path, folder)


def _domain(sender: str | tuple[str, str] | None) -> str:
    """Ours, for the Content-ID: that of the default sender."""
    try:
        return sender_of(sender).domain if sender else "localhost"
    except MessageError:
        return "localhost"
