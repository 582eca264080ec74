"""The dream database. `store.Store` is the front; schema.py says what is kept, writes.py and reads.py what is done with
it; the rest is about the file: opening it, trouble with it, importing leo's.

Importing the package loads nothing of it: dreamctl needs facts about the file, and no database client.
"""
