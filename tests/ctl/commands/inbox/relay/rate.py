"""The relay's rate beside a bare nats-py publisher of the same bytes: `make relay`.

The bare publisher holds the files' bytes in memory. `publish` is the documented call of nats-py, one message after
another. The relay also lists, reads, checks and hashes each file, moves it to done/ and syncs the folder.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dreamd.ctl.commands.inbox.relay.rounds import Relay
from dreamd.ctl.commands.inbox.relay.server import Place, connect_server
from dreamd.ctl.machine.relay_state import RelayState, write_relay_state
from tests.ctl.commands.inbox.relay.scene import Machine
from tests.helpers.nats_server import NatsServer

FILES = 3000


def measured(run: Callable[[], None]) -> tuple[float, float]:
    """Return the files a second by processor time and by elapsed time."""
    processor, elapsed = time.process_time(), time.perf_counter()
    run()
    return FILES / (time.process_time() - processor), FILES / (time.perf_counter() - elapsed)


async def publish_bare(url: str, payloads: list[bytes]) -> None:
    async with connect_server(Place(url)) as client:
        jetstream = client.jetstream()
        for number, data in enumerate(payloads):
            await jetstream.publish("dreams.bare.leo", data, headers={"Nats-Msg-Id": f"bare-{number}"})


async def pass_on(url: str, machine: Machine) -> None:
    place = Place(url)

    def save(state: RelayState) -> None:
        write_relay_state(machine.state, state)

    relay = Relay(machine.box, place, "dreams.{machine}.{client}", "machine", RelayState(), save)
    async with connect_server(place) as client:
        await relay.follow(client, True, lambda: None)
    assert relay.state.acknowledged == FILES


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        machine = Machine(Path(folder) / "machine")
        machine.fill(FILES)
        payloads = [(machine.box.folder / f"machine-{number}.json").read_bytes() for number in range(FILES)]
        server = NatsServer(Path(folder) / "jetstream")
        stack.callback(server.kill)
        server.make_stream()
        asyncio.run(publish_bare(server.url, payloads[:100]))  # imports, and the server's first writes
        bare = measured(lambda: asyncio.run(publish_bare(server.url, payloads)))
        relay = measured(lambda: asyncio.run(pass_on(server.url, machine)))
    size = sum(map(len, payloads)) // FILES
    print(f"{FILES} files of {size} bytes, files a second   processor   elapsed")
    print(f"nats-py, publish by publish              {bare[0]:11,.0f} {bare[1]:9,.0f}")
    print(f"the relay                                {relay[0]:11,.0f} {relay[1]:9,.0f}")
    print(f"relay / bare                             {relay[0] / bare[0]:11.2f} {relay[1] / bare[1]:9.2f}")


if __name__ == "__main__":
    main()
