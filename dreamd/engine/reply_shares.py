"""How much of leo's replies dreams brought: measured at each reply, written at the tick and when the daemon stops."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from dreamd.clock import day_name, day_number
from dreamd.dream.dream_words import DreamWords, WordNumbers
from dreamd.engine.friend_state import FriendState
from dreamd.errors import StoreUnavailable
from dreamd.failures import Failures
from dreamd.store.records import ReplyShare
from dreamd.store.store import Store

if TYPE_CHECKING:
    from dreamd.dream.measures import Profile

LINES = 4096  # the last ones, whose words are known again after a start: of about a thousand dialogues


class ReplyShares:
    """The shares of all fields. A field is named by its id, or if it has none by its client. What is said before `load`
    is not counted."""

    def __init__(self, store: Store, friend: FriendState, failures: Failures) -> None:
        self._store = store
        self._friend = friend
        self._failures = failures
        self._words: DreamWords | None = None
        self._taken_back: set[int] = set()  # dialogues, before `load` has ended
        self._days: dict[int, list[int]] = {}  # replies, triples, those from dreams; by day since 1970 (UTC)
        self._spoken: Counter[int] = Counter()  # triples by dialogue
        self._origin: tuple[Profile | None, frozenset[int]] = (None, frozenset())

    @property
    def loaded(self) -> bool:
        """True from `load` on."""
        return self._words is not None

    async def load(self) -> None:
        """Load what earlier dreams brought, once. Raise StoreUnavailable."""
        if self._words is not None:
            return
        numbers = await self._store.word_numbers()
        lines = await self._store.brought_lines(numbers, LINES)
        said = await self._store.said_triples()
        words = DreamWords(numbers)
        words.restore(lines, self._origin_triples(numbers))
        words.restore_said(said)
        words.take_back(self._taken_back)
        self._words = words

    def of_reply(self, name: str, reply: Sequence[str], at: float) -> float | None:
        """Count the words of a new reply in this field. Return the share of its word triples that dreams brought,
        None if it has none. No disk is touched."""
        if self._words is None:
            return None
        triples, brought = self._words.of_reply(name, reply)
        if not triples:
            return None
        counts = self._days.setdefault(day_number(at), [0, 0, 0])
        counts[0] += 1
        counts[1] += triples
        counts[2] += len(brought)
        if brought:
            self._spoken.update(brought)
        return len(brought) / triples

    def of_line(self, name: str, dialog: int, text: str) -> list[int] | None:
        """Take in a line that a field took. Return the places of the word triples that it brought, None if that is not
        known."""
        if self._words is None:
            return None
        return self._words.of_line(name, dialog, text, self._origin_triples(self._words.numbers))

    def take_back(self, dialogs: Collection[int]) -> None:
        """Count no words for these dialogues any more, because they were forgotten, or taken out of the field. For the
        next start the store has to know it too: `take_back_words` of store/reply_shares.py."""
        if self._words is None:
            self._taken_back.update(dialogs)
        else:
            self._words.take_back(dialogs)

    async def save(self) -> None:
        """Store what is new. Without anything new, write nothing. What cannot be stored is counted as a failure, and
        stored the next time."""
        if self._words is None or not self._days or self._store.unavailable_reason:
            return
        days, spoken, self._days, self._spoken = self._days, self._spoken, {}, Counter()
        counted = {day_name(day): (counts[0], counts[1], counts[2]) for day, counts in days.items()}
        share = ReplyShare(days=counted, spoken=dict(spoken), said=self._words.take_said())
        try:
            await self._store.keep_share(share)
        except StoreUnavailable as error:
            self._failures.count("store", error.reason, place="replies")
            self._words.give_back(share.said)
            self._spoken += spoken
            for day, counts in days.items():
                newer = self._days.get(day, [0, 0, 0])
                self._days[day] = [old + new for old, new in zip(counts, newer, strict=True)]

    def _origin_triples(self, numbers: WordNumbers) -> frozenset[int]:
        """Return the triples of the origin. They are computed again only for another origin."""
        friend = self._friend.friend
        if friend.origin_profile is not self._origin[0]:
            texts = [fragment.text for fragment in friend.fragments if fragment.origin]
            triples = frozenset(triple for text in texts for triple in numbers.triples_of(text))
            self._origin = friend.origin_profile, triples
        return self._origin[1]
