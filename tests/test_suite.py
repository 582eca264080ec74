"""The configuration of the suite."""

import pytest


def test_a_file_is_run_by_one_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist tells a group by the end of an id. Where pytest does not show that, each test goes anywhere."""
    grouped = getattr(request.config.option, "loadgroup", False)
    assert request.node.nodeid.endswith("@test_suite.py") == grouped
