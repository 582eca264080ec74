"""The words for how a dialogue ended. Light: dreamctl imports this without the rest of a dream."""

from typing import Final, Literal, get_args

Outcome = Literal[
    "complete", "empty", "repeat", "hook_error", "deadline", "store_error", "left",
    "lost", "shutdown", "interrupted",
]  # fmt: skip

#   complete    all turns were spoken             deadline     a hook, or the dialogue, took too long
#   empty       a line had no text                store_error  a line could not be recorded
#   repeat      a line was said already           left         the client left, and it did not go on: no failure
#   hook_error  a hook raised or gave nonsense
# While it runs, `lost` (the connection) and `shutdown` (the daemon stops, or holds its dialogues) interrupt it: it is
# suspended, or ends as `left`.
# Only 0.1.0 stored these two, and `interrupted`, as outcomes.
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

INTERRUPTED: Final[frozenset[str]] = frozenset({"lost", "shutdown"})

# An end that does not show whether the client can speak: not its fault.
NOT_OF_THE_CLIENT: Final[frozenset[str]] = frozenset(
    {"store_error", "left", "lost", "shutdown", "interrupted"}
)

SUSPENDED: Final = "suspended"  # stands for the outcome of a dialogue that waits for its client
