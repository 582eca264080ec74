"""The dream: the gate, the friend, the dialogue and the measures of a line.

Pure: nothing here knows a loop, a socket, a database or a clock. Numbers and words in, numbers and words out.
"""
