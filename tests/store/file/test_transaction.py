"""A transaction: all or nothing, and no error that hides another."""

import sqlite3

import pytest

from dreamd.store.file.transaction import run_transaction


def test_a_transaction_is_all_or_nothing():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE pairs (number INTEGER)")

    def half(connection: sqlite3.Connection, *, fail: bool) -> str:
        connection.execute("INSERT INTO pairs VALUES (1)")
        if fail:
            raise LookupError
        return "done"

    assert run_transaction(connection, half, fail=False) == "done"
    with pytest.raises(LookupError):
        run_transaction(connection, half, fail=True)
    with pytest.raises(sqlite3.OperationalError):  # BEGIN itself fails: nothing to roll back
        run_transaction(connection, lambda inner: run_transaction(inner, half, fail=False))
    assert not connection.in_transaction
    assert connection.execute("SELECT count(*) FROM pairs").fetchone() == (1,)
    connection.close()


def test_a_rollback_of_sqlites_own_is_not_rolled_back_again():
    connection = sqlite3.connect(":memory:", isolation_level=None)

    def lost(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise LookupError

    with pytest.raises(LookupError):
        run_transaction(connection, lost)
    connection.close()
