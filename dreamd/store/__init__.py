"""The dream database. `store.Store` is the front. schema.py defines the tables, writes.py and reads.py the
transactions. The other files are about the database file: opening it, checking it, importing leo's.

Importing the package loads none of them: dreamctl needs facts about the file, and no database client.
"""
