"""New shards and nodes, duplicates and conflicts."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dreamd.inbox.document.merge import Held, put_nodes


def held(shards: list[Any] | None = None, nodes: list[Any] | None = None) -> Held:
    found = Held("t")
    found.add({"shards": shards or [], "matada_nodes": nodes or []})
    return found


def named(index: int, **more: Any) -> dict[str, Any]:
    return {"trace_id": "t", "index": index, "timestamp": 5} | more


def test_p7_the_same_shard_again_is_a_duplicate() -> None:
    """P7: a duplicate of a shard in the file or in the call is not added."""
    assert held([named(0)]).new_shards([named(0), named(1), named(1)]) == ([named(1)], 0)


def test_the_order_of_keys_does_not_matter() -> None:
    assert held([{"a": {"b": 1, "c": 2}}]).new_shards([{"a": {"c": 2, "b": 1}}]) == ([], 0)


def test_p7_the_same_name_with_other_content_is_kept_as_a_conflict() -> None:
    """P7: later it counts as a duplicate."""
    found = held([named(0, text="a")])
    assert found.new_shards([named(0, text="b")]) == ([named(0, text="b")], 1)
    assert found.new_shards([named(0, text="b"), named(0, text="a")]) == ([], 0)


def test_a_shard_without_a_trace_id_has_that_of_its_file() -> None:
    other = {"index": 0, "timestamp": 5}
    assert held([named(0)]).new_shards([other]) == ([other], 1)


def test_a_shard_that_lacks_its_name_goes_by_content() -> None:
    found = held([{"index": 0}])
    assert found.new_shards([{"index": 0}, {"index": 0, "text": "x"}, {"timestamp": 1}]) == (
        [{"index": 0, "text": "x"}, {"timestamp": 1}],
        0,
    )


def test_ignores_odd_values_of_other_programs() -> None:
    found = held([5, None, {"index": [], "timestamp": {}}], [5, {}, {"id": 7}])
    assert found.new_shards([named(0)]) == ([named(0)], 0)
    assert put_nodes([5, {}, {"id": 7}], {"a": {"id": "a"}}) == [5, {}, {"id": 7}, {"id": "a"}]


def test_nodes_are_named_by_id_and_a_later_one_takes_the_place() -> None:
    old = [{"id": "a", "v": 1}, {"id": "b", "v": 1}]
    new = held([], old).new_nodes([{"id": "a", "v": 2}, {"id": "b", "v": 1}, {"id": "c", "v": 1}])
    assert new == {"a": {"id": "a", "v": 2}, "c": {"id": "c", "v": 1}}
    assert put_nodes(old, new) == [{"id": "a", "v": 2}, {"id": "b", "v": 1}, {"id": "c", "v": 1}]


SHARDS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"index": st.integers(0, 3), "timestamp": st.integers(0, 1), "text": st.sampled_from("ab")},
    )
)


@given(SHARDS, SHARDS)
def test_p7_any_writes_leave_each_content_once(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    """P7: all contents are there once, and a repeated call adds none."""
    found = Held("t")
    there = found.new_shards(first)[0] + found.new_shards(second)[0]
    assert all(shard in there for shard in first + second)
    assert all(there.count(shard) == 1 for shard in there)
    assert found.new_shards(first + second) == ([], 0)
