"""The database of leo's field, found by his own connection."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from dreamclient.errors import UsageError
from dreamclient.leo.database import FieldDatabase
from dreamclient.leo.names import names_of

from tests.helpers import leo_double


def test_another_threads_connection_is_asked_later_on_its_own(leo):
    database = FieldDatabase()
    with ThreadPoolExecutor(1) as other:
        other.submit(database.look, leo).result()
    assert database.path(leo) is None
    database.look(leo)
    assert database.path(leo) == leo_double.DB_PATH
    database.forget()
    assert database.path(leo) is None


def test_asks_a_new_connection_for_its_file_again(leo, tmp_path):
    """A worker process of a web server opens a connection of its own."""
    database = FieldDatabase()
    database.look(leo)
    with closing(sqlite3.connect(tmp_path / "another.sqlite3")) as leo.conn:
        assert database.path(leo) is None
        leo.conn.execute("CREATE TABLE it_exists (now)")
        database.look(leo)
        assert database.path(leo) == tmp_path / "another.sqlite3"


def test_refuses_an_object_that_is_no_field_of_leos(leo):
    assert names_of(leo) is vars(leo_double)

    class Derived(leo_double.LeoField):
        """Defined somewhere else."""

    assert names_of(Derived(leo.conn)) is vars(leo_double)
    with pytest.raises(UsageError, match="a dict is no field"):
        names_of({})

    class Test:  # in a module that imports leo's functions, as his own tests do
        bigrams = None

    with pytest.raises(UsageError, match="cannot reply"):
        names_of(Test())
