"""Connect a host to dreamd, report one reply, and have it dream once."""

from itertools import cycle

from dreamclient import DreamClient, DreamContext

SENTENCES = cycle(
    "The river is near./I hear it under the house./Who asked the rain to stay?/A small boat waits there./"
    "Does it wait for me?/Then we can go now./The lamp is still warm./Nothing was lost tonight.".split("/")
)


def generate(seed: str, temperature: float, semantic_weight: float) -> str:
    return next(SENTENCES)


def observe(text: str) -> None:
    print("observed:", text)


with DreamClient(generate, observe, name="minimal", origin=["I am small. I listen to water."]) as client:
    if not client.start(wait_s=5.0):
        raise SystemExit(f"no daemon: {client.trouble}")
    context = DreamContext(prompt="Who are you?", reply="I listen to water.")
    client.offer(context)  # after each reply; it never waits
    print(client.dream_now())  # past all gates; `{dialog, outcome, lines}`
