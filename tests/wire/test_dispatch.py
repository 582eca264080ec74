"""A request finds its handler, and a handler that fails answers all the same."""

import pytest

from dreamd.wire.dispatch import ServedMethod
from dreamd.wire.handlers import TABLE
from dreamd.wire.params import NoParams
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import leo
from tests.helpers.peer import PeerError


@pytest.mark.parametrize("later", [False, True])
async def test_a_failing_handler_answers_and_is_counted_without_text(tmp_path, caplog, monkeypatch, later):
    """P10, P14: the handler raises, or its answer cannot be encoded."""

    def raising(*_):
        raise KeyError("secret words")

    async def raising_later(*_):
        raising()

    def beyond(*_):
        return 1 << 64

    async def beyond_later(*_):
        return 1 << 64

    table = {
        "raises": ServedMethod(
            raising_later if later else raising, NoParams, TABLE["status"].params, True, False
        ),
        "beyond": ServedMethod(
            beyond_later if later else beyond, NoParams, TABLE["status"].params, True, False
        ),
    }
    async with serving(tmp_path) as service, await leo(service) as peer:
        for method, served in table.items():
            monkeypatch.setitem(TABLE, method, served)
        for method, kind in (("raises", "KeyError"), ("beyond", "OverflowError")):
            with pytest.raises(PeerError) as caught:
                await peer.call(method)
            assert caught.value.code == 1
            assert caught.value.message == f"{method}: failed ({kind}); the daemon's status counts it"
        assert service.failures.counts == {"raises: KeyError": 1, "beyond: OverflowError": 1}
        peer.send([2, "raises", []])
        assert [await peer.call("why") for _ in range(70)] == [[]] * 70  # none of them is in flight any more
    assert "raises: KeyError at test_dispatch.py" in caplog.text
    assert "secret" not in caplog.text
