"""Publishing a batch: only what the server has acknowledged counts as stored."""

from pathlib import Path

from dreamd.ctl.commands.inbox.relay.publishing import Message, Publisher
from dreamd.ctl.commands.inbox.relay.server import Place, ServerRefused, ServerUnreachable, connect_server
from tests.helpers.nats_server import NatsServer
from tests.helpers.waiting import until_on_loop


def batch(subject: str, count: int) -> list[Message]:
    return [Message(subject, f"{subject}:{number}", b"a file") for number in range(count)]


async def test_p7_counts_nothing_as_stored_that_was_not_acknowledged(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "jetstream")
    try:
        await server.add_stream(max_msgs=5)
        async with connect_server(Place(server.url)) as client:
            publisher = Publisher(client, Place(server.url))
            await publisher.open()
            assert await publisher.publish([]) == (set(), None)
            assert await publisher.publish(batch("dreams.a", 3)) == (
                {f"dreams.a:{n}" for n in range(3)},
                None,
            )
            stored, problem = await publisher.publish(batch("dreams.b", 4))
            assert (stored, type(problem)) == ({"dreams.b:0", "dreams.b:1"}, ServerRefused)
            stored, problem = await publisher.publish(batch("nowhere", 2))
            assert (stored, type(problem)) == (set(), ServerRefused)
            server.kill()
            await until_on_loop(lambda: client.is_closed)
            stored, problem = await publisher.publish(batch("dreams.c", 300))
            assert (stored, type(problem)) == (set(), ServerUnreachable)
    finally:
        server.kill()
