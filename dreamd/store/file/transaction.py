"""A function on an SQLite connection, as one transaction."""

import sqlite3
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
OnConnection = Callable[Concatenate[sqlite3.Connection, P], T]


def run_transaction(
    connection: sqlite3.Connection, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run `function` and commit all that it writes, or roll it all back. The connection must be in autocommit mode."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = function(connection, *args, **kwargs)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back on a full disk
            connection.execute("ROLLBACK")
        raise
    return result
