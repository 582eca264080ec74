"""Connect a host that runs on an event loop. Its hooks are async functions, which may call the daemon themselves."""

import asyncio
from itertools import cycle

from dreamclient import AsyncDreamClient, DreamContext, PulseSnapshot

SENTENCES = cycle(
    "The river is near./I hear it under the house./Who asked the rain to stay?/A small boat waits there./"
    "Does it wait for me?/Then we can go now./The lamp is still warm./Nothing was lost tonight.".split("/")
)


async def generate(seed: str, temperature: float, semantic_weight: float) -> str:
    await asyncio.sleep(0)  # a host may await its model here
    return next(SENTENCES)


async def observe(text: str) -> dict[str, float]:
    print("observed:", text)
    return {"novelty": 0.5}  # measures of the line, each in [0, 1]; all are optional


async def main() -> None:
    client = AsyncDreamClient(generate, observe, name="async", origin=["I am small. I listen to water."])
    try:
        if not await client.start(wait_s=5.0):
            raise SystemExit(f"no daemon: {client.trouble}")
        print(await client.dream_now())  # past all gates; `{dialog, outcome, lines}`
        pulse = PulseSnapshot(novelty=0.8, arousal=0.4, entropy=0.6)
        client.offer(DreamContext(prompt="Who are you?", reply="I listen to water.", pulse=pulse))
        [decision] = await client.call("why", 1)
        print("after the reply:", decision["reason"])  # "cooldown": the last dream was a moment ago
    finally:
        await client.close()


asyncio.run(main())
