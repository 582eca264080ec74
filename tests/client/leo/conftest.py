"""A small leo in a folder of his own, and modules that could be his."""

import sqlite3
import types
from contextlib import closing

import pytest

from tests.helpers import leo_double


@pytest.fixture
def leo(tmp_path):
    with closing(leo_double.settle(tmp_path)) as connection:
        yield leo_double.LeoField(connection)


def module(source: str, **names) -> dict:
    """Return the live namespace of a module with this source, and a `tokenize` of leo's."""
    made = types.ModuleType("another_leo")
    vars(made).update({"tokenize": str.split, **names})
    exec(source, vars(made))
    return vars(made)


def rows(sql: str) -> list:
    with closing(sqlite3.connect(leo_double.DB_PATH)) as connection:
        return connection.execute(sql).fetchall()
