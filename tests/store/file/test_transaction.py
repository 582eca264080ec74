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


def test_a_transaction_has_the_write_lock_from_its_beginning(tmp_path):
    """Taken later, it may be refused after half of the work was done."""
    one, other = (sqlite3.connect(tmp_path / "d", isolation_level=None, timeout=0) for _ in range(2))
    one.execute("PRAGMA journal_mode = WAL")

    def write_elsewhere(_: sqlite3.Connection) -> None:
        other.execute("CREATE TABLE pairs (number INTEGER)")

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        run_transaction(one, write_elsewhere)
    one.close()
    other.close()
