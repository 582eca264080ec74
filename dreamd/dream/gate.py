"""The gate: it decides whether to dream now, and if not, why not.

`decide_to_dream` depends only on its arguments. `Gate` holds its settings and the state of each client. Nothing here
touches a disk or a clock.
"""

from collections.abc import Callable
from math import inf
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from dreamd.dream.clients import Clients
from dreamd.dream.model import Context
from dreamd.dream.signals import Place, Signal, Signals

GATES: tuple[Signal, ...] = ("trauma", "novelty", "quality")

Reason = Literal[
    "disabled", "degraded", "paused", "no_hooks", "busy", "mute", "cooldown", "calm", "chance", "dream", "asked",
    "resumed",
]  # fmt: skip

# In the order of decision: the first that holds is the reason.
#   disabled   the setting says so              mute      the last dialogue of this name came back empty
#   degraded   the store cannot take a dream    cooldown  this leo dreamt not long ago
#   paused     the user has paused all dreams
#   no_hooks   no generate or no observe        calm      neither trauma, nor novelty, nor a middling reply
#   busy       a dialogue of this name runs,    chance    the draw was against it
#              or the friend is being changed
#   dream      yes                              asked     nothing was decided: `dream.now` goes past the gate
#   resumed    nothing was decided: a dialogue that was suspended goes on
REASONS: tuple[Reason, ...] = get_args(Reason)
# Thresholds in [0, 1], leo's own values: of `fixed` mode, and until there are enough contexts to rank one among.
# Trauma above: the origin was touched. Novelty above: something new was said. Quality from low to high: the reply was
# neither good nor bad, and practice helps.
FIXED = {"trauma_above": 0.5, "novelty_above": 0.7, "quality_low": 0.35, "quality_high": 0.55}

THRESHOLDS = {gate: [name for name in FIXED if name.startswith(gate)] for gate in GATES}

Share = Annotated[float, Meta(ge=0, le=1)]


class GateSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A threshold that is set makes its gate fixed. It takes any finite number: beyond [0, 1], always or never."""

    enabled: bool = True  # Whether to dream at all.
    # Seconds from one dream of a client name to the next: the middle of the 120-300 s that leo's author asked for.
    cooldown_s: Annotated[float, Meta(ge=0)] = 180.0
    # Probability of a dream, in [0, 1], even when everything calls for it (leo's own value).
    chance: Share = 0.3
    # adaptive: a measure calls for a dream if it is high among the last ones of this leo. fixed: only thresholds count.
    mode: Literal["adaptive", "fixed"] = "adaptive"
    trauma_share: Share = 0.2  # Adaptive mode: the gate is open for this share of trauma, the highest.
    novelty_share: Share = 0.2  # Adaptive mode: the gate is open for this share of novelty, the highest.
    quality_share: Share = 0.2  # Adaptive mode: the gate is open for this share of quality, the middle.
    trauma_above: float | None = None  # A threshold in place of the share. Fixed mode uses 0.5.
    novelty_above: float | None = None  # A threshold in place of the share. Fixed mode uses 0.7.
    # The ends of a range in place of the share, both included. Fixed mode uses 0.35 and 0.55.
    quality_low: float | None = None
    quality_high: float | None = None

    def thresholds(self, gate: Signal) -> dict[str, float]:
        """Return the thresholds of fixed mode, by setting."""
        own = {name: getattr(self, name) for name in THRESHOLDS[gate]}
        return {name: FIXED[name] if value is None else value for name, value in own.items()}

    def is_fixed(self, gate: Signal) -> bool:
        """Return whether a threshold decides, even if enough contexts of the client are known for a rank."""
        if gate == "trauma":
            has_threshold = self.trauma_above is not None
        elif gate == "novelty":
            has_threshold = self.novelty_above is not None
        else:
            has_threshold = self.quality_low is not None or self.quality_high is not None
        return has_threshold or self.mode == "fixed"


class Decision(Struct, kw_only=True, omit_defaults=True):
    """A decision, with the numbers that made it and the settings (`gate`) with which they were compared."""

    at: float  # unix s
    dream: bool
    reason: Reason
    client: str = ""
    session: int = 0
    dialog: int | None = None
    wait_s: float | None = None  # the rest of `mute`, `cooldown` or `paused`; nil of a pause without an end
    trauma: float | None = None  # these three with `calm`, `chance` and `dream`
    novelty: float | None = None
    quality: float | None = None
    places: dict[Signal, Place] | None = None  # with these three: by gate, if a rank decided
    drawn: float | None = None  # with `chance` and `dream`: dream if below gate.chance
    fed: bool = True  # False with a dialogue that feeds nothing: dialogue.feed was off when it began
    # Share of the reply's word triples that dreams brought, nil if it has none. It decides nothing.
    from_dreams: float | None = None
    gate: GateSettings | None = None  # the thresholds are those that decided; nil if a rank did


def decide_to_dream(
    ctx: Context,
    settings: GateSettings,
    *,
    at: float,
    client: str,
    has_hooks: bool,
    busy: bool,
    mute_left_s: float,
    cooldown_left_s: float,
    degraded: bool,
    draw: Callable[[], float],
    paused_left_s: float | None = None,
    signals: Signals | None = None,
    overlap: Callable[[], float] = lambda: 0.0,
) -> Decision:
    """Decide whether to dream now. `draw` returns a number in [0, 1), and is called only if nothing else forbids a
    dream.

    `paused_left_s`: the rest of a pause, inf if it has no end. `signals`: those of the client's last contexts,
    including this one. `overlap`: that of the context with the origin.
    """
    reason: Reason
    wait_s = None
    if not settings.enabled:
        reason = "disabled"
    elif degraded:
        reason = "degraded"
    elif paused_left_s is not None:
        reason, wait_s = "paused", None if paused_left_s == inf else paused_left_s
    elif not has_hooks:
        reason = "no_hooks"
    elif busy:
        reason = "busy"
    elif mute_left_s > 0.0:
        reason, wait_s = "mute", mute_left_s
    elif cooldown_left_s > 0.0:
        reason, wait_s = "cooldown", cooldown_left_s
    else:
        places = _rank_measures(ctx, settings, signals, overlap)
        return _weigh_measures(ctx, settings, places, at, client, draw)
    return Decision(at=at, dream=False, reason=reason, client=client, wait_s=wait_s, gate=settings)


class Gate:
    """The gate of one daemon: its settings, and the cooldown, the pause and the last contexts of each client."""

    def __init__(self, settings: GateSettings) -> None:
        self.settings = settings
        self.clients = Clients()

    def decide(
        self,
        ctx: Context,
        client: str,
        *,
        at: float,
        now_s: float,
        is_new: bool,
        has_hooks: bool,
        busy: bool,
        degraded: bool,
        draw: Callable[[], float],
        overlap: Callable[[], float],
        paused_left_s: float | None = None,
    ) -> Decision:
        """Decide whether a client dreams now. `at` is in unix seconds, `now_s` in monotonic ones. If a context
        `is_new`, it is ranked among the last ones. If the client has no hooks, it is kept until a client of that name
        has. `overlap`: that of the context with the origin."""
        known = self.clients[client]
        if is_new and has_hooks:  # contexts of a client that cannot dream are not ranked
            known.signals.add(ctx, overlap)
        decision = decide_to_dream(
            ctx,
            self.settings,
            at=at,
            client=client,
            has_hooks=has_hooks,
            busy=busy or bool(known.running),
            mute_left_s=known.mute_left_s(now_s),
            cooldown_left_s=known.cooldown_left_s(at, self.settings.cooldown_s),
            degraded=degraded,
            draw=draw,
            paused_left_s=paused_left_s,
            signals=known.signals,
            overlap=overlap,
        )
        if decision.reason == "no_hooks":
            known.keep(ctx, None, now_s)
        return decision


def _rank_measures(
    ctx: Context, settings: GateSettings, signals: Signals | None, overlap: Callable[[], float]
) -> dict[Signal, Place]:
    """Return by gate the place of the context among the last ones, except for gates that a threshold decides."""
    if signals is None:
        return {}
    places: dict[Signal, Place] = {}
    for gate in GATES:
        if not settings.is_fixed(gate) and (place := signals.place(ctx, gate, overlap)) is not None:
            place.open = _is_open(gate, place, settings)
            places[gate] = place
    return places


def _is_open(gate: Signal, place: Place, settings: GateSettings) -> bool:
    """Return whether a rank calls for a dream: among the highest, or for quality in the middle."""
    if not place.varies:
        return False
    if gate == "quality":
        return abs(place.rank - 0.5) <= settings.quality_share / 2
    return place.rank >= 1 - (settings.trauma_share if gate == "trauma" else settings.novelty_share)


def _weigh_measures(
    ctx: Context,
    settings: GateSettings,
    places: dict[Signal, Place],
    at: float,
    client: str,
    draw: Callable[[], float],
) -> Decision:
    """Decide by the measures and the draw, after nothing else forbids a dream."""
    trauma, quality = ctx.trauma_level, ctx.quality
    novelty = None if ctx.pulse is None else ctx.pulse.novelty
    limits: dict[str, float] = {}
    stirred = False
    for gate in GATES:
        if (place := places.get(gate)) is not None:
            stirred = stirred or place.open
        else:
            limits |= settings.thresholds(gate)
    if limits and not stirred:
        stirred = (
            ("trauma" not in places and trauma is not None and trauma > limits["trauma_above"])
            or ("novelty" not in places and novelty is not None and novelty > limits["novelty_above"])
            or (
                "quality" not in places
                and quality is not None
                and limits["quality_low"] <= quality <= limits["quality_high"]
            )
        )
    drawn = draw() if stirred else None
    dream = drawn is not None and drawn < settings.chance
    return Decision(
        at=at,
        dream=dream,
        reason="dream" if dream else "chance" if stirred else "calm",
        client=client,
        trauma=trauma,
        novelty=novelty,
        quality=quality,
        places=places or None,
        drawn=drawn,
        gate=replace(settings, **limits) if limits else settings,
    )
