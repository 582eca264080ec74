"""`import dreamclient` goes into every leo: it must cost nothing, and offer everything."""

import subprocess
import sys
import textwrap

import dreamclient
import pytest


def imported_by(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_else() -> None:
    assert imported_by("import dreamclient") == {"dreamclient"}


@pytest.mark.parametrize("name", ["DreamClient", "DreamContext", "Method"])
def test_the_blocking_client_needs_neither_asyncio_nor_the_daemon(name: str) -> None:
    modules = imported_by(f"from dreamclient import {name}")
    assert "msgpack" in modules or name != "DreamClient"
    assert not modules & {
        "asyncio",
        "subprocess",
        "dreamd",
        "msgspec",
        "numpy",
        "uvloop",
        "aiosqlite",
        "logging",
    }


def test_every_public_name_is_there() -> None:
    script = """
        import dreamclient
        promised = set(dreamclient.__all__)
        assert promised <= set(dir(dreamclient)), "dir"
        for name in promised:
            getattr(dreamclient, name)
        assert promised <= set(vars(dreamclient)), "each is looked up once"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
    assert {name for name in dreamclient.__all__ if not hasattr(dreamclient, name)} == set()
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = dreamclient.Nothing
