"""The word triples that dreams brought into a field, and those of a reply among them.

A dream brought a triple of words if a line that the field took held it first: before that neither the origin, nor a
reply, nor another line had it. A triple is kept as a number, which is a hash, and never as text. If there is too much,
the oldest goes.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

from msgspec import Struct, field

from dreamd.dream.measures import split_words

# Over all fields, which share them equally. Brought: those of about 700 dialogues, 2.5 MB; a dict of more than 21,845
# takes twice that. Said: those of about 3,000 replies, 1 MB, and as much again sorted.
BROUGHT, SAID = 20_000, 131_072
BLOCK = 4096  # of said triples, sorted at once in a millisecond
FIELDS = 1024  # as many as there may be sessions
KNOWN_WORDS = 4096  # whose numbers are at hand: about as many as leo says
WORD_CHARS = 32  # of these; longer words are hashed each time


class BroughtLine(Struct, frozen=True):
    """A line that a field took, for the words that it brought."""

    dialog: int
    field: str
    triples: list[int]
    new: list[int] | None  # the places of those that it brought; None: not known, it is of an older version


class WordNumbers(dict[str, int]):
    """A number for each word: a keyed hash, the same in each process that has the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __missing__(self, word: str) -> int:
        """Return the number of a word that is not at hand."""
        from hashlib import blake2b  # at the first reply: it loads OpenSSL

        data = word.encode("utf-8", "surrogatepass")
        digest = blake2b(data, digest_size=8, key=self._key).digest()
        number = int.from_bytes(digest, "little", signed=True)
        if len(word) <= WORD_CHARS:
            if len(self) >= KNOWN_WORDS:
                self.clear()
            self[word] = number
        return number

    def triples_of(self, text: str) -> list[int]:
        """Return a number for each three neighbouring words of a text."""
        return self.triples_of_words(split_words(text))

    def triples_of_words(self, words: Sequence[str]) -> list[int]:
        """Return a number for each three neighbouring words."""
        numbers = list(map(self.__getitem__, words))
        # Python hashes a tuple of integers alike in each process.
        return list(map(hash, zip(numbers, numbers[1:], numbers[2:], strict=False)))


class _FieldWords(Struct):
    """The triples of one field: those that dreams brought with their dialogue, and those of replies; oldest first."""

    brought: dict[int, int] = field(default_factory=dict)
    said: "array[int]" = field(default_factory=lambda: array("q"))
    unsaved: int = 0  # the newest of `said`, which the store does not have yet
    blocks: "list[array[int]]" = field(default_factory=list)  # `said` from its oldest on, each sorted

    def said_among(self, triples: Collection[int]) -> set[int]:
        """Return those of a few triples that replies said. All of `said` are searched in 0.3 ms. numpy takes half of
        that, and 15 MB. At most one block is sorted at a time, since the loop waits: after a restart all are unsorted.
        """
        if len(self.said) >= (sorted_to := len(self.blocks) * BLOCK) + BLOCK:
            self.blocks.append(array("q", sorted(self.said[sorted_to : sorted_to + BLOCK])))
            sorted_to += BLOCK
        found = set(triples).intersection(self.said[sorted_to:])
        found.update(triple for triple in triples if any(_holds(block, triple) for block in self.blocks))
        return found

    def trim(self, brought: int, said: int) -> None:
        """Drop the oldest ones beyond these numbers, of `said` a whole number of blocks."""
        for triple in list(islice(self.brought, max(0, len(self.brought) - brought))):
            del self.brought[triple]
        gone = max(0, len(self.said) - said)
        if said < BLOCK:
            self.blocks.clear()
        else:
            gone -= gone % BLOCK
            del self.blocks[: gone // BLOCK]
        del self.said[:gone]


class DreamWords:
    """The triples that dreams brought, by field. A field is named by its id, or by the name of its client."""

    def __init__(self, numbers: WordNumbers, *, brought: int = BROUGHT, said: int = SAID) -> None:
        self.numbers = numbers
        self._most = self._room = brought, said  # over all fields, and of each
        self._fields: dict[str, _FieldWords] = {}  # in the order of their last use

    def of_reply(self, name: str, reply: Sequence[str]) -> tuple[int, list[int]]:
        """Take in the words of a reply: it is an earlier one from now on. Return the number of its triples, and for
        each that a dream brought its dialogue."""
        if len(reply) < 3:
            return 0, []
        own, triples = self._own(name), self.numbers.triples_of_words(reply)
        own.said.fromlist(triples)  # in half the time of extend
        own.unsaved += len(triples)
        if len(own.said) > self._room[1] * 5 // 4:  # seldom, since all that is left is moved
            own.trim(*self._room)
        brought = own.brought
        found = [brought[triple] for triple in triples if triple in brought] if brought else []
        return len(triples), found

    def of_line(self, name: str, dialog: int, text: str, origin: AbstractSet[int]) -> list[int]:
        """Take in a line that the field took. Return the places of the triples that it brought."""
        own, triples = self._own(name), self.numbers.triples_of(text)
        said, brought = own.said_among(triples), own.brought
        places = [
            place
            for place, triple in enumerate(triples)
            if not (triple in said or triple in origin or brought.get(triple, dialog) != dialog)
        ]
        brought.update((triples[place], dialog) for place in places)
        own.trim(*self._room)
        return places

    def take_said(self) -> list[tuple[str, bytes]]:
        """Return by field the triples of replies since the last time, for the store."""
        taken = []
        for name, own in self._fields.items():
            if own.unsaved:
                taken.append((name, own.said[-own.unsaved :].tobytes()))
                own.unsaved = 0
        return taken

    def give_back(self, taken: Iterable[tuple[str, bytes]]) -> None:
        """Note that the store could not keep what was taken."""
        for name, triples in taken:
            own = self._own(name)
            own.unsaved = min(len(own.said), own.unsaved + len(triples) // 8)

    def restore(self, lines: Iterable[BroughtLine], origin: AbstractSet[int]) -> None:
        """Take in the lines of earlier daemons, oldest first."""
        for line in lines:
            brought, triples = self._own(line.field).brought, line.triples
            if line.new is None:
                new = [triple for triple in triples if triple not in origin]
            else:
                new = [triples[place] for place in line.new if place < len(triples)]
            for triple in new:
                brought.setdefault(triple, line.dialog)
        self._trim()

    def restore_said(self, said: Iterable[tuple[str, bytes]]) -> None:
        """Take in what earlier daemons took, oldest first."""
        for name, triples in said:
            self._own(name).said.frombytes(triples[: len(triples) // 8 * 8])
        self._trim()

    def take_back(self, dialogs: Collection[int]) -> None:
        """Drop what dialogues brought."""
        for own in self._fields.values():
            for triple in [triple for triple, dialog in own.brought.items() if dialog in dialogs]:
                del own.brought[triple]

    def _own(self, name: str) -> _FieldWords:
        own = self._fields.pop(name, None)
        if own is not None:
            self._fields[name] = own
            return own
        if len(self._fields) == FIELDS:
            del self._fields[next(iter(self._fields))]
        self._fields[name] = own = _FieldWords()
        brought, said = self._most
        self._room = brought // len(self._fields), said // len(self._fields)
        self._trim()
        return own

    def _trim(self) -> None:
        for own in self._fields.values():
            own.trim(*self._room)


def _holds(block: "array[int]", triple: int) -> bool:
    place = bisect_left(block, triple)
    return place < len(block) and block[place] == triple
