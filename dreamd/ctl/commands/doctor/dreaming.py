"""Leo, his friend, and the gates: whether leo can dream, does, and is heard."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from math import ceil, inf
from typing import Any

from dreamclient.messages import Method

from dreamd.ctl.commands.doctor.daemon import Answers
from dreamd.ctl.commands.doctor.database import Database
from dreamd.ctl.commands.doctor.finding import Finding, fail, ok, warn
from dreamd.ctl.terminal.dialogues import count_of, paused_in_words
from dreamd.ctl.terminal.layout import format_counts, format_moment, format_span
from dreamd.dream.outcomes import NOT_OF_THE_CLIENT, SUSPENDED

MOVES = 0.05  # a measure that varies by less does not distinguish replies
LOSSES = 3  # dialogues lost in a row: one may be a restart of leo
LATEST, SOME = 10, 4  # dialogues, at most and at least, that show whether leo stays to their end
DREAMLESS = 100  # replies without a dream: at the default settings about one of ten leads to one
ENOUGH = 12  # replies that reached the gates: with fewer, "always" means little
DAY_S = 86_400.0
_INSTANCE = re.compile(r"[A-Za-z0-9_.-]+")
_PLACE = re.compile(r"[\w./<>-]+:\d+")


def check_leo(answers: Answers, database: Database, now: float) -> Iterator[Finding]:
    """Check that leo is connected, provides hooks, that his dreams speak, and that he dreams at all."""
    if answers.status is not None:
        yield from _check_connected(answers.status)
        if not answers.status.get("feed", True):
            unset = (
                "to feed later ones: `dreamctl config unset dialogue.feed`, then `dreamctl service restart`"
            )
            yield ok("what he dreams does not reach him: dialogue.feed is false", unset)
    yield from _check_shared(answers.status or {}, database, now)
    yield from _check_mute(answers, database, now)
    yield from _dreamless(answers.decisions, database, now)


def _dreamless(decisions: Sequence[Mapping[str, Any]], database: Database, now: float) -> Iterator[Finding]:
    """Check that not too many replies came since the last dream. `decisions`: newest first, of earlier daemons too."""
    since = list(takewhile(lambda decision: not decision["dream"], decisions))
    if len(since) < DREAMLESS:
        return
    dreamt = [decision["at"] for decision in decisions[len(since) : len(since) + 1]]
    dreamt += [dialog["started_at"] for dialog in database.latest[:1]]
    ago = f"for {format_span(now - max(dreamt))} and" if dreamt else "in"
    yield warn(
        f"no dream {ago} {len(since)} replies: {format_counts(Counter(decision['reason'] for decision in since))}",
        "`dreamctl why` says what each of them lacked. Change gate.chance, gate.cooldown_s or the shares of the gates",
    )


def _check_connected(status: Mapping[str, Any]) -> Iterator[Finding]:
    hosts = [session for session in status["sessions"] if session["name"] != "dreamctl"]
    able = [session for session in hosts if not _missing_hooks(session)]
    for session in hosts:
        who, lacks = f"{session['name']} (pid {session['pid']}) is connected", _missing_hooks(session)
        if not lacks:
            yield ok(f"{who}, provides {', '.join(session['provides'])}")
        elif not able or len(lacks) == 1:  # if one leo can dream, other clients may only look
            yield (warn if able else fail)(
                f"{who}, and provides no {' and no '.join(lacks)}",
                "give DreamClient both hooks, or call dreamclient.leo.attach(field)",
            )
    if not hosts and (refused := status.get("refusals", {}).get("hello: WRONG_PROTOCOL")):
        yield warn(
            f"none is connected, and a client of another protocol was refused {refused} times",
            "upgrade the older one, dreamd or the client in leo's environment, and restart it",
        )
    elif not hosts:
        yield warn(
            "none is connected", "start leo. `dreamctl leo check PATH` says whether he knows of dreamd"
        )


def _check_shared(status: Mapping[str, Any], database: Database, now: float) -> Iterator[Finding]:
    """Check that one leo alone dreams with the friend: those that are connected, and those of the last day."""
    hosts = [session for session in status.get("sessions", ()) if session["name"] != "dreamctl"]
    able = {(session["name"], session["pid"]) for session in hosts if not _missing_hooks(session)}
    young = [each for each in database.latest if now - each["started_at"] < DAY_S]
    lately = {str(each["client"]) for each in young if each.get("client")}
    names = sorted({name for name, _ in able} | (lately - {"dreamctl"}))
    if len(names) > 1:
        who = f"{', '.join(names[:-1])} and {names[-1]}"
    elif len(able) > 1:
        who = f"{len(able)} processes named {names[0]}"
    else:
        return
    second = next((name for name in names[1:] if _INSTANCE.fullmatch(name)), "NAME")
    yield warn(
        f"{who} dream with one friend: what one says there comes back in the dreams of the other",
        "if they are two leos, give each a daemon of his own: "
        f"`dreamctl service install --instance {second}`, or without systemd `dreamd --state-dir DIR`, and for him "
        'DREAMD_SOCKET and DREAMD_STATE_DIR ("A second leo" in docs/guides/service.md)',
    )


def _missing_hooks(session: Mapping[str, Any]) -> list[str]:
    """Return the hooks that a dialogue needs and the session does not provide."""
    return [hook for hook in (Method.GENERATE, Method.OBSERVE) if hook not in session["provides"]]


def _check_mute(answers: Answers, database: Database, now: float) -> Iterator[Finding]:
    """Check that his dialogues speak. He is mute if the latest ran without a line, and gone if he left in each."""
    lost = list(
        takewhile(
            lambda dialog: dialog["outcome"] in ("left", "lost") and not dialog["lines"], database.latest
        )
    )
    if len(lost) >= LOSSES:
        yield fail(
            f"in each of the last {len(lost)} dialogues he was gone before his first line, since "
            f"{format_moment(lost[-1]['started_at'], now)}",
            "does a hook end his process (a crash, too little memory)? Look at how that ended",
        )
        return
    ran = [dialog for dialog in database.latest if dialog["outcome"] not in (NOT_OF_THE_CLIENT | {SUSPENDED})]
    silent, newest = list(takewhile(lambda dialog: not dialog["lines"], ran)), database.latest[:LATEST]
    if silent:
        why, cure = _cause_of(answers, silent[0]["note"])
        count = f"{count_of(len(silent), 'dialogue')} ran"
        since = format_moment(silent[-1]["started_at"], now)
        pause_s = max((each["mute_s"] for each in (answers.status or {}).get("sessions", [])), default=0.0)
        again = f". Otherwise he is asked again in {format_span(pause_s)}" if pause_s else ""
        yield fail(
            f"mute: {count}, 0 spoke: {why}; since {since}", f"{cure}. `dreamctl dream` tries at once{again}"
        )
    elif ran and ran[0]["outcome"] in ("hook_error", "deadline"):
        yield warn(f"his last dialogue was cut short by {ran[0]['note']}", "`dreamctl status` says where")
    elif len(cut := _cut_short(newest)) > len(newest) / 2 and len(newest) >= SOME:
        yield fail(
            f"{len(cut)} of the last {len(newest)} dialogues were cut short: leo went away before they ended",
            "keep leo running, for example in his REPL. If he only ever answers one prompt and exits, set "
            "`DREAMD_EMBEDDED=wait` for him: then he waits for the end of his dream",
        )
    elif ran:
        spoke = sum(dialog["lines"] > 0 for dialog in ran)
        yield ok(f"{spoke} of the last {len(ran)} dialogues spoke")


def _cut_short(latest: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the dialogues that did not end by themselves, since their client or the daemon went away."""
    return [dialog for dialog in latest if dialog["outcome"] in NOT_OF_THE_CLIENT - {"store_error"}]


def _cause_of(answers: Answers, note: str | None) -> tuple[str, str]:
    """Return why a dialogue said nothing, and what to do, by its note such as "generate: TypeError"."""
    if not note:
        return (
            "his lines came back empty",
            "has his field words? Else his hook hides an error: call dreamclient.leo.attach(field) in its place",
        )
    hook, _, kind = note.partition(": ")
    raised = f" raised {kind}{_error_place(answers, hook, kind)}" if kind[:1].isupper() else f": {kind}"
    return f"{hook}{raised}", "mend that in leo"


def _error_place(answers: Answers, hook: str, kind: str) -> str:
    """Return where the error was raised, such as " at leo.py:4288", or an empty string if the daemon does not know."""
    for error in reversed((answers.status or {}).get("last_errors", [])):
        if error["type"] == kind and error["where"].startswith(hook):
            place = _PLACE.search(error["where"])
            return f" at {place[0]}" if place else ""
    return ""


def check_friend(answers: Answers, database: Database) -> Iterator[Finding]:
    """Check that the friend has an origin: without one he has nothing to speak from."""
    if database.error or database.foreign or database.complaints or database.newer:
        return
    if database.origin:
        yield ok(f"{database.origin} origin fragments of {database.fragments}")
    elif answers.status is not None and answers.status["seeded"]:
        yield ok("seeded")
    else:
        yield warn(
            "no origin fragments",
            "the first leo that connects with origin or readme brings them (`dreamclient.leo.attach` does)",
        )


def check_gates(answers: Answers, now: float) -> Iterator[Finding]:
    """Check that the gates opened for some of the measured replies, and not for all."""
    reached = [d for d in answers.decisions if d["reason"] in ("calm", "chance", "dream")]
    calm = [d for d in reached if d["reason"] == "calm"]
    newest, status = answers.decisions[0] if answers.decisions else {}, answers.status or {}
    chance = status.get("chance", (newest.get("gate") or {}).get("chance", 1.0))
    if not status.get("enabled", newest.get("reason") != "disabled"):
        yield warn("shut: gate.enabled is false", _set("enabled true"))
    elif paused := status.get("paused"):
        yield warn(f"shut: {paused_in_words(paused['until'], now)}", "`dreamctl resume` ends the pause")
    elif chance <= 0.0:
        yield warn("shut: gate.chance is 0, he never dreams", _set("chance 0.3"))
    elif len(reached) < ENOUGH:
        yield ok(f"replies that came to them: {len(reached)}; too few to judge")
    elif len(calm) == len(reached):
        advice = _between_words(calm, "shut")
        yield warn(f"shut at each of the last {len(reached)} replies: {_range_words(calm)}", advice)
    elif not calm:
        advice = _between_words(reached, "open")
        yield warn(f"open at each of the last {len(reached)} replies: {_range_words(reached)}", advice)
    else:
        yield ok(f"open at {len(reached) - len(calm)} of the last {len(reached)} replies")


def _set(*settings: str) -> str:
    """Return what to do so that the gates have these settings."""
    commands = [f"`dreamctl config set gate.{setting}`" for setting in settings]
    return ", ".join([*commands, "then `dreamctl service restart`"])


def _between_words(decisions: Sequence[Mapping[str, Any]], way: str) -> str:
    """Return advice with thresholds amid the measures of leo. A measure that never varies gets one only if it holds the
    gate open: then the measure itself."""
    lines = []
    for name in ("trauma", "novelty"):
        low, high = _range_of(decisions, name)
        above = decisions[0]["gate"][f"{name}_above"]
        if above is None or (way == "open" and low <= above):  # None: its rank decides
            continue
        if high - low >= MOVES:
            lines.append(f"{name}_above {(low + high) / 2:.2f}")
        elif way == "open" and low <= high:
            lines.append(f"{name}_above {ceil(high * 100) / 100:.2f}")
    if not lines:
        return "does leo measure? `dreamctl why` shows what he sends. docs/guides/leo.md says what is wanted"
    return f"does leo measure (`dreamctl why`)? If so, {_set(*lines)}"


def _range_words(decisions: Sequence[Mapping[str, Any]]) -> str:
    texts = []
    for name in ("trauma", "novelty", "quality"):
        low, high = _range_of(decisions, name)
        if low <= high:
            texts.append(f"{name} {low:.2f}" + (f"-{high:.2f}" if high > low else ""))
    return ", ".join(texts) or "no measures were given"


def _range_of(decisions: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
    """Return the least and the greatest measured value, or (inf, -inf) if none was measured."""
    values = [decision[name] for decision in decisions if decision.get(name) is not None]
    return min(values, default=inf), max(values, default=-inf)
