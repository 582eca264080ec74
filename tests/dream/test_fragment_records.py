"""The fragments of a copy that may take the buffer's place."""

from dreamd.dream.fragment_records import FragmentRecord, merge_records, to_records
from dreamd.dream.friend import FriendSettings
from tests.helpers.store_rows import fragment

SETTINGS = FriendSettings(buffer=3)
ORIGIN = [
    fragment(1, "I am small.", weight=0.9, origin=True),
    fragment(2, "I listen.", weight=0.5, origin=True),
    fragment(3, "I listen!", weight=0.4, origin=True),  # of an imported database: nothing of it is lost
]


def copy(text: str, weight: float = 0.3, **fields) -> FragmentRecord:
    return FragmentRecord(text=text, weight=weight, **fields)


def taken(copies, origin=ORIGIN) -> list[tuple[str, float, bool]]:
    return [(c.text, c.weight, c.origin) for c in merge_records(copies, origin, SETTINGS)[0]]


def test_copies_of_fragments_are_taken_in_as_they_were():
    fragments = [*ORIGIN, fragment(9, "the sea", dialog=4)]
    copies = to_records(fragments)
    assert copies[3] == copy("the sea", dialog=4, added_at=fragments[3].added_at)
    assert merge_records(copies, ORIGIN[:2], SETTINGS) == ([*copies[:2], copies[3]], 0)


def test_p4_the_origin_stays_and_takes_no_more_than_weights():
    copies = [
        copy("i AM small", 0.01),  # below the floor of an origin fragment
        copy("I am another.", 1.0, origin=True),
        copy("the sea", 0.4),
    ]
    assert taken(copies) == [
        ("I am small.", 0.2, True),
        ("I listen.", 0.5, True),
        ("I listen!", 0.4, True),
        ("the sea", 0.4, False),
    ]
    assert merge_records(copies, ORIGIN, SETTINGS)[1] == 1


def test_takes_the_origin_of_the_copies_up_to_its_bound_if_there_is_none():
    copies = [copy(f"born {n}", 1.0, origin=True) for n in range(300)] + [
        copy("BORN, 0", 0.5),
        copy("the sea"),
    ]
    found, left_out = merge_records(copies, (), SETTINGS)
    assert [c.text for c in found] == [f"born {n}" for n in range(256)] + ["the sea"]
    assert left_out == 44


def test_the_heaviest_fill_the_buffer_in_the_order_of_their_coming():
    copies = [copy(f"line {n}", weight, added_at=n) for n, weight in enumerate((0.9, 0.1, 0.3, 0.2))]
    assert taken(copies, ()) == [("line 0", 0.9, False), ("line 2", 0.3, False), ("line 3", 0.2, False)]
    assert merge_records(copies, (), SETTINGS)[1] == 1


def test_takes_a_repeated_text_once_at_its_heaviest():
    copies = [copy("the sea", 0.1), copy("The sea!", 0.6), copy("...", 0.2), copy("…", 0.2), copy(" \n")]
    assert taken(copies, ()) == [("The sea!", 0.6, False), ("...", 0.2, False), ("…", 0.2, False)]


def test_no_text_weight_or_moment_is_beyond_its_bounds():
    nan = float("nan")
    ((long, faint),) = [
        merge_records([copy("word " * 500, 0.0), copy("b", nan, added_at=nan)], (), SETTINGS)[0]
    ]
    assert (len(long.text), long.weight) == (399, 0.05)
    assert (faint.weight, faint.added_at) == (0.05, 0.0)
