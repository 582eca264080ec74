"""The state that is kept by name: cooldown, pause and a context for later, for a bounded number of names."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dreamd.dream.clients import ABSENT, KEPT_S, MUTE_FIRST_S, MUTE_MOST_S, Clients, ClientState
from dreamd.dream.model import Context

CTX = Context(prompt="hello")


def test_a_mute_client_is_left_alone_ever_longer_until_it_speaks() -> None:
    named, now_s, pauses = ClientState(), -5.0, []
    assert named.mute_left_s(now_s) == 0.0
    for _ in range(9):
        named.came_back(False, now_s)
        pauses.append(named.mute_left_s(now_s))
        now_s += pauses[-1]
        assert named.mute_left_s(now_s) == 0.0
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]
    assert (pauses[0], pauses[-1]) == (MUTE_FIRST_S, MUTE_MOST_S)
    named.came_back(False, now_s)
    named.came_back(True, now_s)
    assert named.mute_left_s(now_s) == 0.0
    named.came_back(False, now_s)
    assert named.mute_left_s(now_s + 10.0) == 20.0


def test_a_client_that_never_dreamt_waits_for_nothing() -> None:
    names = Clients()
    names.charged("leo", 100.0, ())
    assert names["mia"].cooldown_left_s(100.0, 180.0) == 0.0
    assert names["leo"].cooldown_left_s(100.0, 180.0) == 180.0


def test_the_cooldown_runs_down_to_the_second() -> None:
    named = ClientState(last_run_s=100.0)
    assert named.cooldown_left_s(239.0, 180.0) == 41.0
    assert named.cooldown_left_s(279.5, 180.0) == 0.5
    assert named.cooldown_left_s(280.0, 180.0) == 0.0
    assert named.cooldown_left_s(100.0, 0.0) == 0.0


def test_a_cooldown_is_reserved_while_a_dialogue_runs_and_given_back_if_it_was_not_charged() -> None:
    named = ClientState(last_run_s=100.0)
    named.begin(1, 300.0)
    assert (named.cooldown_left_s(310.0, 180.0), named.running) == (170.0, {1})
    named.end(1)
    named.end(1)  # an end that is told twice
    assert (named.cooldown_left_s(310.0, 180.0), named.running) == (0.0, set())


def test_a_clock_that_jumped_back_blocks_one_interval_and_no_longer() -> None:
    for named in (ClientState(last_run_s=1e12), ClientState(reserved={1: 1e12})):
        assert named.cooldown_left_s(1000.0, 180.0) == 180.0
        assert named.cooldown_left_s(1179.0, 180.0) == 1.0
        assert named.cooldown_left_s(1180.0, 180.0) == 0.0


TIMES = st.floats(-1e12, 1e12)


@settings(derandomize=True, print_blob=True)
@given(last_s=st.floats(), clock=st.lists(TIMES, min_size=1), interval_s=st.floats(0, 1e9))
def test_no_clock_makes_the_cooldown_longer_than_its_interval(
    last_s: float, clock: list[float], interval_s: float
) -> None:
    named = ClientState(last_run_s=last_s)
    assert all(0.0 <= named.cooldown_left_s(now_s, interval_s) <= interval_s for now_s in clock)
    assert named.cooldown_left_s(max(clock) + 2 * interval_s + 1.0, interval_s) == 0.0


def test_a_context_is_delivered_once_and_within_a_day() -> None:
    named = ClientState()
    named.keep(CTX, 0.25, 1000.0)
    taken = named.take(1000.0 + KEPT_S - 1)
    assert taken is not None
    assert (taken.ctx, taken.drawn) == (CTX, 0.25)
    assert named.take(1000.0) is None
    named.keep(CTX, None, 1000.0)
    assert named.take(1000.0 + KEPT_S) is None


def come_and_go(names: Clients, name: str, dreamt: bool = False) -> None:
    names.join(name)
    if dreamt:
        names.charged(name, 5.0, names.forgotten)
    names.leave(name)


def known(names: Clients) -> set[str]:
    return set(names._named)


def test_names_that_are_not_connected_are_bounded_and_those_that_dreamt_stay_longest() -> None:
    """A client may choose any name."""
    names = Clients()
    names.join("here")
    for number in range(ABSENT):
        come_and_go(names, f"dreamt-{number}", dreamt=True)
    for number in range(1000):
        come_and_go(names, f"made-up-{number}")
    assert known(names) == {"here", *(f"dreamt-{number}" for number in range(ABSENT))}
    come_and_go(names, "new", dreamt=True)
    assert known(names) == {"here", "new", *(f"dreamt-{number}" for number in range(1, ABSENT))}
    assert names.forgotten == ["dreamt-0"]
    come_and_go(names, "newer", dreamt=True)
    assert names.forgotten == ["dreamt-1"]


def test_a_name_with_a_dialogue_that_runs_stays() -> None:
    names = Clients()
    names.join("leo")
    names["leo"].begin(1, 5.0)
    names.leave("leo")
    for number in range(ABSENT):
        come_and_go(names, f"dreamt-{number}", dreamt=True)
    assert "leo" in known(names)
    names.end("leo", 1)
    assert "leo" not in known(names)
    assert names.forgotten == []


def test_loads_only_the_last_names_to_dream() -> None:
    names = Clients()
    names.load({f"leo-{number}": float(number) for number in range(ABSENT + 3)}, {})
    assert known(names) == {f"leo-{number}" for number in range(3, ABSENT + 3)}
    assert names.forgotten == ["leo-0", "leo-1", "leo-2"]
    names.charged("leo-1", 100.0, ())  # it is back, and has dreamt again
    assert names.forgotten == ["leo-0", "leo-2"]
