"""Serves the web application as in production."""

from __future__ import annotations

import argparse

from app import create_app
from devserver.serving import serve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    serve(create_app(), parser.parse_args().port)


if __name__ == "__main__":
    main()
