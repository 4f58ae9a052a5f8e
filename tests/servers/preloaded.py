"""The imports of the process that `tests.servers.forked` forks: those of the commands, the worker and the drivers."""

from __future__ import annotations

import psycopg  # noqa: F401
import pymysql  # noqa: F401
import sqlalchemy.dialects.mysql
import sqlalchemy.dialects.postgresql
import sqlalchemy.dialects.sqlite  # noqa: F401

import tests.servers.forked
import tests.story.stage

tests.servers.forked.imported_beforehand()
