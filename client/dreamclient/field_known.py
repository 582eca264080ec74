"""What leo's database holds of a word or a pair of words: what his diet asks for."""

import sqlite3

# The most trodden ways on from a word that are looked at. A full stop has thousands in a grown field; those beyond
# change a mean by nothing.
WAYS = 64

_WORD = "SELECT id FROM tokens WHERE token = ?"
_AFTER_ONE = f"""
    SELECT token, count FROM bigrams JOIN tokens ON id = dst_id
    WHERE src_id = ({_WORD}) ORDER BY count DESC, dst_id LIMIT {WAYS}
"""
_AFTER_TWO = f"""
    SELECT token, count FROM trigrams JOIN tokens ON id = third_id
    WHERE first_id = ({_WORD}) AND second_id = ({_WORD}) ORDER BY count DESC, third_id LIMIT {WAYS}
"""
_COUNT = f"SELECT COALESCE(SUM(count), 0) FROM bigrams WHERE src_id = ({_WORD})"


class KnownToLeo:
    """As of now, for one line: each word is counted once. Reads only; on a connection of our own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._counts: dict[str, int] = {}

    def after(self, *words: str) -> dict[str, int]:
        query = _AFTER_ONE if len(words) == 1 else _AFTER_TWO
        return {token: count for token, count in self._connection.execute(query, words)}

    def count(self, word: str) -> int:
        """As often as something followed it: each time but at the very end of a text."""
        if word not in self._counts:
            ((self._counts[word],),) = self._connection.execute(_COUNT, (word,))
        return self._counts[word]
