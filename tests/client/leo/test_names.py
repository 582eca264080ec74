"""The names and numbers in leo's namespace."""

from dreamclient.leo.names import given, level, plain_expert

from tests.helpers import leo_double


def test_names_and_numbers_as_leo_writes_them():
    assert [plain_expert(name) for name in ("blend:wounded", "wounded", "", None)] == [
        "wounded",
        "wounded",
        "",
        "",
    ]
    assert given(a=1, b=None, c="x", d=float("nan"), e=10**400) == {"a": 1.0}
    assert [level(state) for state in (None, leo_double.TraumaState(0.5))] == [0.0, 0.5]
