"""The inbox over the socket: persist, list, read, ack, tokens, and dialogues and other writers in one folder."""

import asyncio
import json
import os
from contextlib import suppress

import pytest

from dreamd.inbox import Inbox, persist_dream_shards
from tests.helpers.daemons.in_loop import serving
from tests.helpers.peer import PeerError, PlainPeer, hearing, saying

TOKEN = {"scopes": ["memory.inbox.dreams.write"]}
SEED = {"goal": "simulate", "ul_tags": ["sim"], "constraints": {"flags": {"x": 1}}}


def request(trace_id="sim-1", shards=None, token=TOKEN, **more):
    shards = [{"index": 0, "timestamp": 1, "text": "a shard"}] if shards is None else shards
    return {"seed": SEED, "result": {"trace_id": trace_id, "shards": shards}, "cap_token": token} | more


async def connected(service, **hooks):
    peer = await PlainPeer.connect(service.socket, **hooks)
    await peer.hello("simulation")
    return peer


async def test_persist_list_read_ack_and_the_event(tmp_path):
    async with serving(tmp_path) as service, await connected(service) as peer:
        await peer.call("events.subscribe")
        report = await peer.call("inbox.persist", request())
        assert (report["shards_written"], report["duplicates"], report["conflicts"]) == (1, 0, 0)
        method, [event] = await peer.told.get()
        assert (method, event["type"], event["trace_id"], event["shards"]) == (
            "event",
            "inbox.written",
            "sim-1",
            1,
        )
        again = await peer.call("inbox.persist", request())
        assert (again["shards_written"], again["duplicates"]) == (0, 1)
        assert [entry["trace_id"] for entry in await peer.call("inbox.list")] == ["sim-1"]
        document = await peer.call("inbox.read", "sim-1")
        assert json.loads((tmp_path / "inbox/dreams/sim-1.json").read_text()) == document
        await peer.call("inbox.ack", "sim-1")
        assert await peer.call("inbox.list") == []
        assert (tmp_path / "inbox/dreams/done/sim-1.json").exists()
        assert (await peer.call("inbox.persist", request()))["duplicates"] == 1
        assert await peer.call("inbox.list") == []  # P5: what was acknowledged is not resurrected
        status = await peer.call("status")
    assert status["inbox"]["done"] == 1


async def test_accepts_the_arguments_of_the_earlier_writer(tmp_path):
    asked = {"seed": None, "result": {"trace_id": "t", "shards": [{"index": 0.5, 1: {2: 3}}]}}
    async with serving(tmp_path) as service, await connected(service) as peer:
        scopes = {"memory.inbox.dreams.write": True, "other": None}
        await peer.call("inbox.persist", asked | {"cap_token": {"scopes": scopes}})
        assert (await peer.call("inbox.read", "t"))["shards"] == [{"index": 0.5, "1": {"2": 3}}]


@pytest.mark.parametrize(
    ("params", "code", "reason"),
    [
        ([request(token={"scopes": ["other"]})], 15, "scope"),
        ([request(token=None)], 15, None),
        ([request(token=TOKEN | {"exp_ts": 1})], 15, "expired"),
        ([request(trace_id="../etc/passwd")], 16, "ValidationError"),
        ([request(shards=[{"text": float("nan")}])], 16, "ValidationError"),
        ([request(shards="none")], 16, "ValidationError"),
        ([request(base_dir="/tmp")], 2, "INVALID_PARAMS"),
        ([{"seed": SEED}], 2, "INVALID_PARAMS"),
        ([], 2, "INVALID_PARAMS"),
        ([request(), 1], 2, "INVALID_PARAMS"),
    ],
)
async def test_counts_refusals_and_writes_nothing(tmp_path, params, code, reason):
    """P10: each refusal has its reason; no file appears, inside or outside."""
    async with serving(tmp_path) as service, await connected(service) as peer:
        with pytest.raises(PeerError) as refused:
            await peer.call("inbox.persist", *params)
        assert refused.value.code == code
        status = await peer.call("status")
        assert await peer.call("inbox.list") == []
    assert status["failures"] == {}
    [key] = [key for key in status["refusals"] if key.startswith("inbox.persist: ")]
    assert reason is None or reason in key


async def test_refuses_unknown_traces_and_a_disabled_inbox(tmp_path):
    async with serving(tmp_path, inbox__enabled="false") as service, await connected(service) as peer:
        for method, params, code in (
            ("inbox.read", ["nope"], 12),
            ("inbox.ack", ["nope"], 12),
            ("inbox.ack", ["../x"], 16),
            ("inbox.persist", [request()], 10),
        ):
            with pytest.raises(PeerError) as refused:
                await peer.call(method, *params)
            assert refused.value.code == code


@pytest.mark.parametrize("part", ["x" * 1000, [0.5] * 120, [True] * 400, {"n": 10**18}], ids=type)
async def test_read_answers_all_that_persist_accepts(tmp_path, part):
    """The shards fill more than two files, with values that are larger as JSON or as MessagePack."""
    many = [{"index": n, "timestamp": n, "part": part} for n in range(300)]
    async with serving(tmp_path) as service, await connected(service) as peer:
        for turn in range(9):
            shards = [shard | {"index": 300 * turn + shard["index"]} for shard in many]
            await peer.call("inbox.persist", request(shards=shards))
        seen = []
        while waiting := await peer.call("inbox.list"):
            for entry in waiting:
                document = await peer.call("inbox.read", entry["trace_id"])
                seen += [shard["index"] for shard in document["shards"]]
                await peer.call("inbox.ack", entry["trace_id"])
    assert sorted(seen) == list(range(2700))


async def test_does_not_acknowledge_a_file_that_has_grown(tmp_path):
    async with serving(tmp_path) as service, await connected(service) as peer:
        await peer.call("inbox.persist", request())
        read = (await peer.call("inbox.read", "sim-1"))["saved_ts"]
        await peer.call("inbox.persist", request(shards=[{"index": 1}]))
        with pytest.raises(PeerError) as refused:
            await peer.call("inbox.ack", "sim-1", read)
        assert (refused.value.code, "has grown" in refused.value.message) == (16, True)
        assert [entry["trace_id"] for entry in await peer.call("inbox.list")] == ["sim-1"]
        read = (await peer.call("inbox.read", "sim-1"))["saved_ts"]
        await peer.call("inbox.ack", "sim-1", float(read))
        assert await peer.call("inbox.list") == []


async def test_refuses_a_file_that_exceeds_a_message_and_says_how_to_read_it(tmp_path):
    """dreamd writes no such file, but another program may."""
    async with serving(tmp_path) as service, await connected(service) as peer:
        await peer.call("inbox.persist", request(trace_id="t"))
        path = tmp_path / "inbox/dreams/t.json"
        path.write_text(path.read_text().replace("a shard", "x" * (1 << 20)))
        with pytest.raises(PeerError) as refused:
            await peer.call("inbox.read", "t")
    assert refused.value.code == 7
    assert "`dreamctl inbox show t` reads it" in refused.value.message


async def test_the_largest_shard_is_read_and_a_larger_one_refused(tmp_path):
    async with serving(tmp_path) as service, await connected(service) as peer:
        shard = {"text": "x" * ((768 << 10) - 11)}
        await peer.call("inbox.persist", request(shards=[shard]))
        assert (await peer.call("inbox.read", "sim-1"))["shards"] == [shard]
        with pytest.raises(PeerError) as refused:
            await peer.call("inbox.persist", request(shards=[{"text": "x" * ((768 << 10) - 10)}]))
        assert refused.value.code == 16


@pytest.mark.parametrize(
    "shard",
    [
        '{"id": 123456789012345678901234567890}',
        '{"id": -18446744073709551616}', '{"text": "\\ud83d"}', f'{{"deep": {"[" * 500}{"]" * 500}}}'],
    ids=["large", "small", "surrogate", "deep"],
)  # fmt: skip
async def test_p10_any_file_of_another_program_is_read_or_refused_with_a_reason(tmp_path, shard):
    """JSON can hold more than MessagePack, so some files cannot be sent."""
    async with serving(tmp_path) as service, await connected(service) as peer:
        await peer.call("inbox.persist", request("t"))
        file = tmp_path / "inbox/dreams/t.json"
        file.write_text(file.read_text().replace('"shards":[', f'"shards":[{shard},'))
        with pytest.raises(PeerError) as refused:
            await peer.call("inbox.read", "t")
        assert refused.value.code in (7, 16)
        assert "INTERNAL" not in str(refused.value)
        for method, params in (
            ("inbox.persist", [request("t", [{"index": 7}])]),
            ("inbox.list", []),
            ("inbox.ack", ["t"]),
        ):
            with suppress(PeerError):
                await peer.call(method, *params)
        failures = (await peer.call("status"))["failures"]
        assert {key for key in failures if "Error" in key} <= {
            f"inbox.{m}: ValidationError" for m in ("persist", "read")
        }


async def test_lists_waiting_files_in_pages_the_oldest_first(tmp_path):
    async with serving(tmp_path) as service, await connected(service) as peer:
        names = [f"t{n}" for n in range(5)]
        for age, name in enumerate(reversed(names)):
            await peer.call("inbox.persist", request(name))
            os.utime(tmp_path / f"inbox/dreams/{name}.json", (1000 - age, 1000 - age))

        async def listed(*params):
            return [entry["trace_id"] for entry in await peer.call("inbox.list", *params)]

        assert await listed() == names
        assert await listed(2) == ["t0", "t1"]
        assert await listed(2, "t1") == ["t2", "t3"]
        assert await listed(2.0, "t3") == ["t4"]
        assert await listed(2, "t4") == []
        for name in ("t0", "t1"):
            await peer.call("inbox.ack", name)
        assert await listed(2, "t1") == ["t2", "t3"]  # what was acknowledged is nothing to stand behind
        assert await listed(0) == []


async def test_p11_bounds_a_page_of_the_inbox(tmp_path):
    folder = tmp_path / "inbox" / "dreams"
    folder.mkdir(parents=True, mode=0o700)
    for n in range(2500):
        (folder / f"{'x' * 120}-{n:05}.json").touch()
    async with serving(tmp_path) as service, await connected(service) as peer:
        seen, page = [], await peer.call("inbox.list")
        assert len(page) == 1000
        while page:
            seen += [entry["trace_id"] for entry in page]
            page = await peer.call("inbox.list", 1000, seen[-1])
        assert len(set(seen)) == len(seen) == 2500


async def test_keeps_nodes_of_both_forms_and_writes_the_form_that_is_set(tmp_path):
    provenance = {
        "producer": "sim",
        "capabilities": ["x"],
        "tenant": "t",
        "trace_id": "sim-1",
        "consent_scopes": [],
    }
    general = {
        "version": 1,
        "id": "LT-sim-1#N1",
        "type": "EMOTION",
        "state": {"confidence": 0.5, "salience": 0.5},
        "timestamps": {"created_ts": 5},
        "provenance": provenance,
    }
    asked = request()
    asked["result"]["matada_nodes"] = [general, general | {"type": "JOY"}]
    async with (
        serving(tmp_path, inbox__node_form="published") as service,
        await connected(service, generate=saying, observe=hearing) as leo,
    ):
        report = await leo.call("inbox.persist", asked)
        assert (report["nodes_written"], report["nodes_skipped"]) == (1, 1)
        assert (await leo.call("inbox.read", "sim-1"))["matada_nodes"] == [general]
        lines = (await leo.call("dream.now"))["lines"]
        while len(waiting := await leo.call("inbox.list")) < 2:
            await asyncio.sleep(0)
        nodes = (await leo.call("inbox.read", waiting[1]["trace_id"]))["matada_nodes"]
    assert [node["type"] for node in nodes] == ["HYPOTHESIS"] * lines
    assert all(entry["problems"] == [] for entry in Inbox(tmp_path / "inbox/dreams").verify())


async def test_dialogues_and_outside_writers_share_one_folder(tmp_path):
    """P7: the daemon dreams while other programs write into the folder, also into its traces. No shard is lost."""
    folder = tmp_path / "inbox" / "dreams"

    def write_outside(trace_id: str, count: int) -> None:
        for index in range(count):
            shard = {"index": 1000 + index, "timestamp": index, "text": f"outside {index}"}
            result = {"trace_id": trace_id, "shards": [shard]}
            persist_dream_shards(seed=SEED, result=result, cap_token=TOKEN, base_dir=folder)

    async with (
        serving(tmp_path) as service,
        await connected(service, generate=saying, observe=hearing) as leo,
    ):
        outside = [asyncio.to_thread(write_outside, f"sim-{n}", 20) for n in range(2)]
        inside = [
            leo.call("inbox.persist", request(trace_id="sim-0", shards=[{"index": n, "timestamp": n}]))
            for n in range(20)
        ]

        async def dream() -> list[int]:
            return [(await leo.call("dream.now"))["lines"] for _ in range(5)]

        lines, *_ = await asyncio.gather(dream(), *outside, *inside)
        dialogs = await leo.call("dialogs.recent")
    for dialog, count in zip(reversed(dialogs), lines, strict=True):
        assert len(json.loads((folder / f"{dialog['trace_id']}.json").read_text())["shards"]) == count
    assert len(json.loads((folder / "sim-0.json").read_text())["shards"]) == 40
    assert len(json.loads((folder / "sim-1.json").read_text())["shards"]) == 20
