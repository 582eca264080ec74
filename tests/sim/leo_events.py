"""What the leos and the other clients of a history do."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.sim.peers import Peer
from tests.sim.writer import TOKEN

if TYPE_CHECKING:
    from tests.sim.run import Run

FLOOD_NAMES = 90
PAUSE_SLACK_S = 0.8  # between the beginning of a pause and its answer
FLOOD_CONTEXTS = 260  # whose decisions make a large answer


def context(peer: Peer, chance: random.Random) -> dict[str, Any]:
    """Return a context as a leo reports it."""
    return {
        "prompt": peer.text(),
        "reply": peer.text(),
        "pulse": {name: chance.random() for name in ("novelty", "arousal", "entropy")},
        "trauma_level": chance.choice((chance.random(), None, 5.0)),
        "quality": chance.random(),
        "expert": chance.choice(("", "structural")),
    }


def offer(run: "Run", peer: Peer, chance: random.Random) -> None:
    if chance.random() < 0.3:
        peer.call("dream.context", [context(peer, chance)])
    elif peer.greeted:
        peer.send([2, "dream.context", [context(peer, chance)]])


def offers(run: "Run", peer: Peer, chance: random.Random, n: int) -> None:
    """Offer contexts at once: from this session, or in turn from all of its name."""
    same = [other for other in run.peers if other.name == peer.name]
    who = same if chance.random() < 0.5 else [peer]
    for number in range(n):
        offer(run, who[number % len(who)], chance)


def now(run: "Run", peer: Peer, chance: random.Random) -> None:
    peer.call("dream.now", [chance.choice((None, context(peer, chance)))])


def call(run: "Run", peer: Peer, chance: random.Random, method: str) -> None:
    number = chance.randrange(1, 12)
    params = {
        "why": [256], "dialogs.recent": [100], "dialogs.get": [number], "dialogs.search": ["river"],
        "dialogs.replay": [number], "friend.drift": [10], "friend.checkpoints": [10], "inbox.list": [5],
        "inbox.read": [f"w-{number % 4}"], "dialogs.whence": ["the river sleeps under"],
    }.get(method, [])  # fmt: skip
    if method == "hello":
        peer.name = chance.choice(("leo", "ann", peer.name))
        peer.hello(peer.name)
    else:
        peer.call(method, params, run.check_page if method == "dialogs.replay" else _ignore)


def _ignore(error: Any, result: Any) -> None:
    pass


def new_shards(run: "Run", chance: random.Random, trace: str, n: int, *, twice: bool) -> list[dict[str, Any]]:
    """Return new shards of a trace, or with `twice` some that were sent before."""
    earlier = run.sent.setdefault(trace, [])
    if twice and earlier:
        return earlier[-n:]
    shards = []
    for _ in range(n):
        run.texts += 1
        shards.append({"text": f"shard{run.texts}s {'x' * chance.choice((3, 40, 3000))}"})
        if chance.random() < 0.7:
            shards[-1] |= {"trace_id": trace, "index": run.texts, "timestamp": 1}
    earlier += shards
    return shards


def persist(run: "Run", peer: Peer, chance: random.Random, trace: str, n: int, twice: bool) -> None:
    shards = new_shards(run, chance, trace, n, twice=twice)
    texts = [shard["text"] for shard in shards]

    def told(error: Any, result: Any) -> None:
        if error is None:
            run.world.model.accepted(trace, texts)

    result = {"trace_id": trace, "shards": shards}
    peer.call("inbox.persist", [{"seed": {"goal": "g"}, "result": result, "cap_token": TOKEN}], told, texts)


def ack(run: "Run", peer: Peer, chance: random.Random) -> None:
    def listed(error: Any, result: Any) -> None:
        if error is None and result:
            handle = chance.choice(result)["trace_id"]
            peer.call("inbox.read", [handle], lambda error, document: read(handle, error, document))

    def read(handle: str, error: Any, document: Any) -> None:
        if error is None:
            shards = document["shards"]
            run.world.model.acknowledging(handle, shards)
            told = lambda error, _: error is None and run.world.model.acknowledged(handle, shards)  # noqa: E731
            take_s = chance.choice((0.0, 0.1, 5.0, 30.0))
            if chance.random() < 0.5:  # the file grows meanwhile
                more = new_shards(run, chance, document["trace_id"], 1, twice=False)
                run.world.after(take_s / 2, run.world.writer.persist, document["trace_id"], more)
            run.world.after(take_s, peer.call, "inbox.ack", [handle, document["saved_ts"]], told)

    peer.call("inbox.list", [8], listed)


def forget(run: "Run", peer: Peer, chance: random.Random) -> None:
    model, friend, everywhere = run.world.model, chance.random() < 0.5, chance.random() < 0.5

    def listed(error: Any, result: Any) -> None:
        ended = [row for row in result or [] if row["finished_at"] is not None]
        if ended:
            row = chance.choice(ended)
            model.may_be_gone.add(row["trace_id"])
            peer.call("dialogs.forget", [{"id": row["id"], "friend": friend, "everywhere": everywhere}])

    peer.call("dialogs.recent", [20], listed)


def undream(run: "Run", peer: Peer, chance: random.Random) -> None:
    """Take a dialogue back out of the field that it was fed to."""

    def listed(error: Any, result: Any) -> None:
        if result:
            row = chance.choice(result)
            run.world.model.may_be_gone.add(row["trace_id"])
            peer.call("dialogs.undream", [{"id": row["id"]}])

    peer.call("dialogs.recent", [20], listed)


def pause(run: "Run", peer: Peer, chance: random.Random, seconds: float | None) -> None:
    model, asked_s = run.world.model, run.world.now

    def told(error: Any, result: Any) -> None:
        # The answer may wait for a dream that runs: the pause counts from the question.
        if (
            error is None and model.pause_asked_s == asked_s
        ):  # no other peer has resumed or paused dreams since it asked
            model.paused_until = asked_s + (1e9 if seconds is None else seconds) - PAUSE_SLACK_S

    model.paused_until, model.pause_asked_s = 0.0, asked_s
    peer.call("dream.pause", [seconds], told)


def resume(run: "Run", peer: Peer, chance: random.Random) -> None:
    run.world.model.paused_until, run.world.model.pause_asked_s = 0.0, None
    peer.call("dream.resume", [])


def _begin_and(run: "Run", peer: Peer, chance: random.Random, act: Callable[[], None]) -> None:
    """Act, often between a decision and its first line. Later another session of the old name offers contexts."""
    others = [other for other in run.peers if other is not peer and other.name == peer.name]
    if not others:
        again(run, peer, chance)
        others = run.peers[-1:]
    act_s = 0.0
    if chance.random() < 0.5:
        offer(run, peer, chance)
        act_s = chance.uniform(0.05, 0.8)
    run.world.after(act_s, act)
    for other in others:
        run.world.after(act_s + chance.choice((chance.uniform(0.1, 3.0), 30.0)), offer, run, other, chance)


def rename(run: "Run", peer: Peer, chance: random.Random, name: str) -> None:
    """Say hello again, under this name."""

    def say() -> None:
        peer.name = name
        peer.hello(name)

    _begin_and(run, peer, chance, say)


def private(run: "Run", peer: Peer, chance: random.Random) -> None:
    peer.send([2, "dream.private", [{"private": 2}]])


def friend(run: "Run", peer: Peer, chance: random.Random, how: str) -> None:
    name = f"c{chance.randrange(3)}"
    if how == "checkpoint":
        peer.call("friend.checkpoint", [name, True])
    elif how == "delete":
        run.world.model.origin_may_go = True
        peer.call("friend.delete_checkpoint", [name])
    elif how == "before":
        run.world.model.user_changed_origin = True
        peer.call("friend.restore", [None, chance.randrange(1, 9)])
    elif how == "drop":

        def listed(error: Any, result: Any) -> None:
            learned = [each["id"] for each in result or [] if not each["origin"]]
            if learned:
                peer.call("friend.drop", [chance.sample(learned, min(2, len(learned)))])

        peer.call("friend.fragments", [], listed)
    elif how == "restore":
        run.world.model.user_changed_origin = True
        peer.call("friend.restore", [name])
    elif how == "reseed":
        run.world.model.user_changed_origin = True
        peer.call("friend.reseed", [peer.origin()])
    else:
        copies = [{"text": peer.text(), "weight": 0.4, "origin": False, "added_at": 1.0} for _ in range(4)]
        peer.call("friend.import", [copies])


def again(run: "Run", peer: Peer, chance: random.Random) -> None:
    """Another process of the same name, with the same field or another one."""
    field = chance.choice((peer.field, peer.field, "f3"))
    about = {"name": peer.name, "field": field, "provides": peer.provides, "mood": peer.mood}
    if len(run.peers) < 12:
        run.peers.append(Peer(run.world, len(run.peers), about))


def cut(run: "Run", peer: Peer, chance: random.Random) -> None:
    _begin_and(run, peer, chance, peer.cut)


def half(run: "Run", peer: Peer, chance: random.Random) -> None:
    peer.call("dialogs.recent", [5])
    if peer.wire is not None:
        peer.wire.end()


def garble(run: "Run", peer: Peer, chance: random.Random) -> None:
    whole = [
        bytes(chance.randrange(256) for _ in range(chance.randrange(1, 60))), b"\xdd\xff\xff\xff\xff", b"\xc1",
        b"\x94\x01\x00\xc0\xc7\x0c\xff" + bytes(12), b"\x94\x00\x01", b"\x91" * 300, b"[1,2]\n",
    ]  # fmt: skip
    peer.garbled = True
    peer.send(chance.choice(whole))


def slow(run: "Run", peer: Peer, chance: random.Random, seconds: float) -> None:
    wire = peer.wire
    if wire is not None:
        wire.slow = True
        for _ in range(FLOOD_CONTEXTS):
            peer.send([2, "dream.context", [context(peer, chance) | {"expert": "e" * 60}]])
        for _ in range(80):
            peer.call("why", [256])
        run.world.after(seconds, wire.go_on_reading)


def mood(run: "Run", peer: Peer, chance: random.Random, mood: str) -> None:
    peer.mood = mood


def leave(run: "Run", peer: Peer, chance: random.Random, seconds: float) -> None:
    peer.stays_away = True
    peer.cut()

    def come_back() -> None:
        peer.stays_away = False
        peer.connect()

    run.world.after(seconds, come_back)


def names(run: "Run", peer: Peer, chance: random.Random) -> None:
    run.world.model.names_flooded = True
    for number in range(FLOOD_NAMES):
        peer.hello(f"name{number}")
        peer.send([2, "dream.context", [context(peer, chance)]])
    peer.hello(peer.name)


def large(run: "Run", peer: Peer, chance: random.Random) -> None:
    big = context(peer, chance) | {
        "math_state": {f"k{n}": "v" * 200 for n in range(1000)},
        "themes": [1 << 40] * 1000,
    }
    peer.send([2, "dream.context", [big | {"prompt": peer.text() + "p" * 200_000, "expert": "e" * 90_000}]])


def shutdown(run: "Run", peer: Peer, chance: random.Random, down_s: float) -> None:
    run.down_s = down_s
    peer.call("shutdown", [])


OF_A_LEO: dict[str, Any] = {
    "offer": offer, "offers": offers, "now": now, "call": call, "persist": persist, "ack": ack, "forget": forget,
    "friend": friend, "again": again, "cut": cut, "half": half, "garble": garble, "slow": slow, "mood": mood,
    "leave": leave, "names": names, "large": large, "shutdown": shutdown, "undream": undream, "pause": pause,
    "resume": resume, "private": private, "rename": rename,
}  # fmt: skip
