"""The gate: whether to dream now, and if not, why not.

One function decides, from what it is handed. Nothing here touches a disk or a clock.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from dreamd.dream.shapes import Context

Reason = Literal[
    "disabled", "degraded", "no_hooks", "busy", "mute", "cooldown", "calm", "chance", "dream", "asked",
]  # fmt: skip

# In the order of decision: the first that holds is the reason.
#   disabled   the setting says so              mute      the last dialogue of this name came back empty
#   degraded   the store cannot take a dream    cooldown  this leo dreamt not long ago
#   no_hooks   no generate or no observe        calm      neither trauma, nor novelty, nor a middling reply
#   busy       a dialogue of this name runs     chance    the draw was against it
#   dream      yes                              asked     nothing was decided: `dream.now` goes past the gate
REASONS: tuple[Reason, ...] = (
    "disabled", "degraded", "no_hooks", "busy", "mute", "cooldown", "calm", "chance", "dream", "asked",
)  # fmt: skip


class GateSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The thresholds take any finite number; beyond [0, 1] they mean always or never."""

    enabled: bool = True  # dream at all
    # Seconds from one dream of a leo to the next: the middle of the 120-300 s that leo's author asked for.
    cooldown_s: Annotated[float, Meta(ge=0)] = 180.0
    # Probability in [0, 1]: a dream stays rare even when everything calls for it (leo's own value).
    chance: float = 0.3
    # Trauma in [0, 1]: above it, the origin was touched (leo's own value).
    trauma_above: float = 0.5
    # Novelty in [0, 1]: above it, something new was said (leo's own value).
    novelty_above: float = 0.7
    # Predicted quality in [0, 1]: from low to high a reply was neither good nor bad, and practice helps
    # (leo's own values).
    quality_low: float = 0.35
    quality_high: float = 0.55


class Decision(Struct, kw_only=True, omit_defaults=True):
    """One decision, with the numbers that made it and the settings (`gate`) that they were held against."""

    at: float  # unix s
    dream: bool
    reason: Reason
    client: str = ""
    session: int = 0
    dialog: int | None = None
    wait_s: float | None = None  # what is left of `mute` or `cooldown`
    trauma: float | None = None  # these three with `calm`, `chance` and `dream`
    novelty: float | None = None
    quality: float | None = None
    drawn: float | None = None  # with `chance` and `dream`: dream if below gate.chance
    gate: GateSettings | None = None


def decide(
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
) -> Decision:
    """Whether to dream now. `draw` gives a number in [0, 1), asked for only when all else said yes."""
    reason: Reason
    wait_s = None
    if not settings.enabled:
        reason = "disabled"
    elif degraded:
        reason = "degraded"
    elif not has_hooks:
        reason = "no_hooks"
    elif busy:
        reason = "busy"
    elif mute_left_s > 0.0:
        reason, wait_s = "mute", mute_left_s
    elif cooldown_left_s > 0.0:
        reason, wait_s = "cooldown", cooldown_left_s
    else:
        return _weigh(ctx, settings, at, client, draw)
    return Decision(at=at, dream=False, reason=reason, client=client, wait_s=wait_s, gate=settings)


def _weigh(
    ctx: Context, settings: GateSettings, at: float, client: str, draw: Callable[[], float]
) -> Decision:
    """Nothing forbids a dream: does the moment call for one, and does the draw agree?"""
    trauma, quality = ctx.trauma_level, ctx.quality
    novelty = None if ctx.pulse is None else ctx.pulse.novelty
    stirred = (
        (trauma is not None and trauma > settings.trauma_above)
        or (novelty is not None and novelty > settings.novelty_above)
        or (quality is not None and settings.quality_low <= quality <= settings.quality_high)
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
        drawn=drawn,
        gate=settings,
    )
