"""Values of a `.env` file that were changed when it was loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_VARIABLE = re.compile(r"\$\{(?P<name>[^}:]*)(?P<default>:-)?[^}]*\}")


def replaced(config: Mapping[str, Any]) -> Iterator[str]:
    """A warning for each mail setting whose `${...}` in `.env` was taken for a variable that nothing sets.

    The `flask` command and `load_dotenv` replace it by nothing, so that the relay gets another password.
    """
    try:
        from dotenv import dotenv_values, find_dotenv
    except ImportError:  # then nobody has loaded the file
        return
    found = find_dotenv(usecwd=True)
    if not found:
        return
    literal, loaded = dotenv_values(found, interpolate=False), dotenv_values(found)
    for name, text in literal.items():
        if not name.startswith(("MAIL_", "OUTBOX_")) or text is None or config.get(name) != loaded[name] != text:
            continue
        unset = [one["name"] for one in _VARIABLE.finditer(text) if not one["default"] and not loaded.get(one["name"])]
        if unset and not any(one in config for one in unset):
            yield (
                f"{name} in {Path(found)} contains ${{{unset[0]}}}, which was replaced by an empty string when it was "
                "loaded. If it is meant literally: load the file by dotenv.load_dotenv(interpolate=False) before the "
                "application is created and set FLASK_SKIP_DOTENV=1, or set the variable in the environment"
            )
