"""One dialogue of leo with his friend, as a generator of effects.

It yields each effect and is sent its result, so it reads like a description and runs under any driver: the daemon, a
test, a replay. A driver ends it early by throwing Ended into it. The lines so far are kept.
"""

from collections.abc import Generator
from typing import Annotated, Any, Literal, TypeAlias

from dreamclient.messages import DIALOGUE_DEADLINE_S
from msgspec import Meta, Struct
from msgspec.structs import replace

from dreamd.dream import measures
from dreamd.dream.candidates import Choice, Length, Usage, choose_sentences
from dreamd.dream.draws import Draws
from dreamd.dream.friend import Friend
from dreamd.dream.model import TEXT_CHARS, Answer, Context, Line, LineMetrics, Pulse, Speaker
from dreamd.dream.outcomes import Outcome

Role = Literal["leo_dream", "friend"]
# How many snapshots of the past leo is asked for.
RECALLED = 2
# Trauma above which the friend speaks as leo's "wounded" expert (leo's own value).
WOUNDED_ABOVE = 0.7
# The words that a line should have. The friend's are fewer: he answers, leo dreams.
LEO_WANTED, FRIEND_WANTED = 14, 9


class DialogueSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a dialogue. They refuse a turns_min above turns_max with ValueError."""

    # Lines: three or four short exchanges, as leo's author has it.
    turns_min: Annotated[int, Meta(ge=1)] = 3
    turns_max: Annotated[int, Meta(ge=1)] = 4
    # Whether the lines reach leo's field and his friend. False: they are only spoken, shown and kept.
    feed: bool = True
    # Calls of `generate` for a line. The better of two answers is worth a second call, a third adds nothing.
    # 0: one call, and its text is the line, cut at max_tokens words.
    candidates: Annotated[int, Meta(ge=0)] = 2
    # Tokens that `generate` is asked for: leo's own dreams have as many.
    max_tokens: Annotated[int, Meta(ge=1)] = 50
    # The most words of a line of leo's and of the friend's, and the most characters of either: a line is a breath, not
    # an essay.
    leo_words: Annotated[int, Meta(ge=1)] = 30
    friend_words: Annotated[int, Meta(ge=1)] = 18
    max_chars: Annotated[int, Meta(ge=1)] = 400
    # Seconds for one hook call: a grown leo takes up to 15 to reply, and hooks wait their turn.
    call_deadline_s: Annotated[float, Meta(gt=0)] = 30.0
    # Seconds for the whole dialogue: thirteen calls that all take until their deadline are 390.
    deadline_s: Annotated[float, Meta(gt=0)] = DIALOGUE_DEADLINE_S

    def __post_init__(self) -> None:
        if self.turns_min > self.turns_max:
            raise ValueError(f"turns_min {self.turns_min} is above turns_max {self.turns_max}")


class Recall(Struct, frozen=True):
    """The driver recalls: it sends a list of at most n strings."""

    query: str
    n: int


class Generate(Struct, frozen=True):
    """The driver asks for a line: it sends an Answer, one of several candidates, of which the best is chosen."""

    turn: int
    speaker: Speaker
    role: Role
    seed: str
    temperature: float
    semantic_weight: float
    expert: str
    candidate: int = 1  # from 1


class Record(Struct, frozen=True):
    """The driver writes the line to disk before it goes on. It sends nothing."""

    line: Line


class Observe(Struct, frozen=True):
    """The driver feeds the line into leo's field, and sends LineMetrics or None. `candidate`: the one that it is
    from. Without `feed` the driver feeds nothing, and sends None: the dialogue itself does not differ."""

    line: Line
    candidate: int = 1


Effect: TypeAlias = Recall | Generate | Record | Observe
Dialogue: TypeAlias = Generator[Effect, Any, "Result"]


class Ended(Exception):
    """Thrown into a dialogue by its driver, to end it with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome: Outcome = outcome


class Result(Struct):
    """The outcome of a dialogue and its recorded lines, with their final measures."""

    outcome: Outcome
    lines: list[Line]

    @property
    def spoke(self) -> bool:
        return bool(self.lines)


def speak_dialogue(
    ctx: Context,
    friend: Friend,
    draws: Draws,
    settings: DialogueSettings,
    *,
    can_recall: bool,
) -> Dialogue:
    """Let leo and his friend speak in turn, leo first. Each line is recorded and then observed."""
    lines: list[Line] = []
    try:
        outcome = yield from _speak_turns(ctx, friend, draws, settings, can_recall, lines)
    except Ended as ended:
        outcome = ended.outcome
    return Result(outcome, lines)


def _speak_turns(
    ctx: Context,
    friend: Friend,
    draws: Draws,
    settings: DialogueSettings,
    can_recall: bool,
    lines: list[Line],
) -> Generator[Effect, Any, Outcome]:
    # All random numbers are drawn here, in this order: the length, and the fragments.
    turns = draws.whole_number(settings.turns_min, settings.turns_max)
    seed_origin = [fragment.text for fragment in friend.sample(draws)]
    seed_now = [_cut_part(ctx.prompt), _cut_part(ctx.reply)]
    lately = measures.words_and_pairs(seed_now[0]) | measures.words_and_pairs(seed_now[1])
    if can_recall:
        snapshots: list[str] = yield Recall(_join_parts(seed_now), RECALLED)
        seed_now += map(_cut_part, snapshots[:RECALLED])

    usage = Usage(friend.fragment_words())
    for text in seed_now:
        usage.hear(text)
    before = _join_parts([seed_now[0], *seed_origin])
    for turn in range(1, turns + 1):
        ask = (
            _first_prompt(ctx, seed_now, seed_origin)
            if turn == 1
            else _next_prompt(ctx, turn, seed_origin, lines)
        )
        answers: list[Answer] = []
        for candidate in range(1, max(1, settings.candidates) + 1):
            answers += [(yield replace(ask, candidate=candidate))]
        texts = [answer.text for answer in answers]
        choice = _choose_line(texts, before, lines, usage, ask.speaker, settings)
        if choice is None:
            return "repeat" if any(map(str.strip, texts)) else "empty"
        line = _measure_line(ask, answers[choice.candidate], choice.text, texts, ctx, friend, lately)
        yield Record(line)
        lines.append(line)
        metrics: LineMetrics | None = yield Observe(line, choice.candidate + 1)
        if metrics is not None:
            lines[-1] = with_metrics(line, metrics)
        lately |= measures.words_and_pairs(line.text)
        usage.hear(line.text)
        before = line.text
    return "complete"


def _choose_line(
    texts: list[str],
    before: str,
    lines: list[Line],
    usage: Usage,
    speaker: Speaker,
    settings: DialogueSettings,
) -> Choice | None:
    """Return the best line in a hook's answers to `before`, or None if all are empty or were said already."""
    earlier = [line.text for line in lines]
    if not settings.candidates:
        text = measures.clamp_text(texts[0], most_words=settings.max_tokens, most_chars=settings.max_chars)
        said = not text or any(measures.repeats_text(text, line) for line in earlier)
        return None if said else Choice(text, 0)
    wanted, most_words = (
        (LEO_WANTED, settings.leo_words) if speaker == "leo" else (FRIEND_WANTED, settings.friend_words)
    )
    length = Length(wanted, min(most_words, settings.max_tokens), settings.max_chars)
    return choose_sentences(
        texts, before=before, earlier=earlier, usage=usage, length=length, max_tokens=settings.max_tokens
    )


def _first_prompt(ctx: Context, seed_now: list[str], seed_origin: list[str]) -> Generate:
    """Return the request for leo's first line: from the prompt, the reply and the origin, as the context feels."""
    felt = ctx.pulse or Pulse()
    return _ask_leo(1, seed_now + seed_origin, felt.entropy or 0.0, felt.novelty or 0.0, ctx.expert)


def _next_prompt(ctx: Context, turn: int, seed_origin: list[str], lines: list[Line]) -> Generate:
    """Return the request for the next line: from the origin and the last one or two lines, as the last line feels."""
    last = lines[-1]
    seed = seed_origin + [line.text for line in lines[-2:]]
    if turn % 2:
        return _ask_leo(turn, seed, last.entropy, last.novelty, ctx.expert)
    # The deeper of leo's trauma and that of his last line: a soft line does not heal a wound.
    trauma = max(ctx.trauma_level or 0.0, last.trauma)
    return Generate(
        turn=turn,
        speaker="friend",
        role="friend",
        seed=_join_parts(seed),
        temperature=0.7 + 0.3 * last.arousal,
        semantic_weight=0.5 + 0.1 * trauma,
        expert="wounded" if trauma > WOUNDED_ABOVE else ctx.expert,
    )


def _ask_leo(turn: int, seed: list[str], entropy: float, novelty: float, expert: str) -> Generate:
    return Generate(
        turn=turn,
        speaker="leo",
        role="leo_dream",
        seed=_join_parts(seed),
        temperature=0.6 + 0.4 * entropy,
        semantic_weight=0.3 + 0.1 * novelty,
        expert=expert,
    )


def _measure_line(
    ask: Generate,
    answer: Answer,
    text: str,
    candidates: list[str],
    ctx: Context,
    friend: Friend,
    lately: set[str],
) -> Line:
    """Return the line, each measure as the hook reports it, or else as estimated from the text."""
    overlap = measures.measure_overlap(text, friend.origin_profile)
    estimate = Line(
        turn=ask.turn,
        speaker=ask.speaker,
        text=text,
        novelty=measures.measure_novelty(text, lately),
        arousal=measures.measure_arousal(text),
        entropy=measures.measure_entropy(text),
        trauma=0.5 * (ctx.trauma_level or 0.0)
        + 0.5 * (overlap if answer.overlap is None else answer.overlap),
        overlap=overlap,
        seed=ask.seed,
        temperature=ask.temperature,
        semantic_weight=ask.semantic_weight,
        expert=ask.expert,
        candidates=tuple(candidates),
    )
    return with_metrics(estimate, answer)


def with_metrics(line: Line, metrics: LineMetrics) -> Line:
    """Return the line with the measures that a hook reports for it."""
    told = {name: getattr(metrics, name) for name in LineMetrics.__struct_fields__}
    return replace(line, **{name: value for name, value in told.items() if value is not None})


def _cut_part(text: str) -> str:
    return measures.clamp_text(text, most_chars=TEXT_CHARS)


def _join_parts(parts: list[str]) -> str:
    return " ".join(part for part in parts if part)
