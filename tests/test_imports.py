"""The imports, read from the source: they have one direction."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"dreamd": ROOT / "dreamd", "dreamclient": ROOT / "client" / "dreamclient"}
MODULES = {
    ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
    for package, folder in PACKAGES.items()
    for path in folder.rglob("*.py")
}

IO = {"asyncio", "socket", "sqlite3", "os", "aiosqlite", "uvloop", "threading", "subprocess", "selectors"}
CLOCKS = {"time"}
CHANCE = {"random", "secrets", "uuid"}

DREAM = sorted(name for name in MODULES if name.startswith("dreamd.dream"))
PURE_INBOX = [
    name
    for name in MODULES
    if name.startswith(("dreamd.inbox.document.", "dreamd.inbox.redaction."))
    or name in ("dreamd.inbox.capability", "dreamd.inbox.errors")
]
WIRE_WITHOUT_DREAM = [f"dreamd.wire.{name}" for name in ("server", "session", "listener", "codec")]


def names(tree, *, inside_functions):
    """Return the modules that a syntax tree imports, except those for its types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            assert node.module is not None
            yield node.module
            yield from (name for alias in node.names if (name := f"{node.module}.{alias.name}") in MODULES)
        else:
            yield from names(node, inside_functions=inside_functions)


@cache
def imported_by(module, inside_functions=True):
    return frozenset(names(ast.parse(MODULES[module].read_text()), inside_functions=inside_functions))


def reached_from(module, *, packages=True):
    """Return all modules that a module imports, directly or through dreamd's modules, including packages' __init__."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        parents = (
            {".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 1)} if packages else set()
        )
        for new in (imported_by(name) | (parents & MODULES.keys())) - found:
            found.add(new)
            if new in MODULES:
                left.append(new)
    return found


def outside(names):
    return {name.partition(".")[0] for name in names}


def test_finds_the_modules_of_both_packages():
    assert {
        "dreamd.dream.dialogue",
        "dreamd.dream.gate",
        "dreamd.dream.friend",
        "dreamd.dream.measures",
    } <= set(DREAM)
    assert set(PURE_INBOX + WIRE_WITHOUT_DREAM) <= MODULES.keys()
    assert "asyncio" in reached_from("dreamd.wire.session")
    assert "dreamd.dream.model" in reached_from("dreamd.engine.engine")


@pytest.mark.parametrize("module", DREAM)
def test_dream_imports_no_io_clock_or_randomness(module):
    """Clock and randomness are arguments (P13)."""
    assert not outside(reached_from(module)) & (IO | CLOCKS | CHANCE)
    assert {name for name in reached_from(module) if name.startswith("dreamd.")} <= set(DREAM)


@pytest.mark.parametrize("module", DREAM)
def test_a_dream_imports_numpy_only_inside_functions(module):
    assert "numpy" not in outside(imported_by(module, inside_functions=False))


@pytest.mark.parametrize("module", PURE_INBOX)
def test_pure_parts_of_the_inbox_import_no_io(module):
    # The package's own __init__ exports the writers too: it is left out, and no module here may import it.
    reached = reached_from(module, packages=False)
    assert not outside(reached) & (IO | CLOCKS | CHANCE)
    assert "dreamd.inbox" not in reached


@pytest.mark.parametrize("module", WIRE_WITHOUT_DREAM)
def test_wire_does_not_import_dream(module):
    reached = reached_from(module)
    known = {name for name in reached if name.startswith(("dreamd.dream", "dreamd.store", "dreamd.inbox"))}
    assert not known
    assert not reached & {
        "dreamd.engine.engine",
        "dreamd.engine.dialogue_run",
        "dreamd.engine.session_hooks",
        "dreamd.engine.delivery",
        "dreamd.wire.handlers",
    }


# The client's parts, from the contract up: each imports from those below it, and from itself.
LAYERS = ("contract", "protocol", "clients", "leo", "dropin")


def layer(module):
    """Return the layer of a client's module. The package's own is the highest."""
    if module == "dreamclient":
        return len(LAYERS)
    if module == "dreamclient.embedded":
        return LAYERS.index("clients")
    first = module.split(".")[1]
    return LAYERS.index(first) if first in LAYERS else 0


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith("dreamclient")))
def test_imports_of_the_client_point_downwards(module):
    """Imports inside functions count too: they are there for speed, not to change the direction."""
    for name in imported_by(module) & MODULES.keys():
        if name.startswith("dreamclient."):
            assert layer(name) <= layer(module), f"{module} imports {name}"


def test_the_client_never_imports_the_daemon():
    for module in MODULES:
        if module.startswith("dreamclient") and module != "dreamclient.embedded":
            assert "dreamd" not in outside(imported_by(module)), module
    if "dreamclient.embedded" in MODULES:  # there inside a function, when asked to
        assert "dreamd" not in outside(imported_by("dreamclient.embedded", inside_functions=False))


def test_the_client_needs_msgpack_and_nothing_else():
    reached = {
        name
        for module in MODULES
        if module.startswith("dreamclient")
        for name in outside(imported_by(module))
    }
    assert reached - {"dreamclient", "dreamd"} - set(sys.stdlib_module_names) == {"msgpack"}


def test_the_engine_alone_brings_dream_and_world_together():
    """No module below the engine imports it. `ctl` uses the wire, except for work without a daemon."""
    for module in MODULES:
        if module.startswith(("dreamd.dream", "dreamd.store", "dreamd.inbox", "dreamd.ctl")):
            above = {
                "dreamd.engine.engine",
                "dreamd.app",
                "dreamd.daemon",
                "dreamd.wire.handlers",
                "dreamd.wire.server",
                "dreamd.engine.delivery",
            }
            assert not imported_by(module) & above, module


def test_only_the_clock_and_the_inboxs_files_read_the_time():
    """Other modules get clock, randomness and file calls as arguments."""
    readers = {m for m in MODULES if m.startswith("dreamd.") and "time" in outside(imported_by(m))}
    # listener: it sleeps between two tries for a lock, and reads no time.
    allowed = {"dreamd.clock", "dreamd.embedded_waiting", "dreamd.inbox.folder.files", "dreamd.wire.listener"}
    assert {m for m in readers if not m.startswith("dreamd.ctl")} <= allowed


CHILD = """
import asyncio, json, random, sys
from pathlib import Path
import msgpack
from dreamd.app import Daemon
from dreamd.settings import load_settings
async def main(folder):
    daemon = Daemon(load_settings(file=Path("/dev/null"), env={}), folder, folder / "s")
    async with daemon.serve() as service:
        reader, writer = await asyncio.open_unix_connection(service.socket)
        writer.write(msgpack.packb([0, 1, "status", []]))
        answer = msgpack.unpackb(await reader.read(1 << 20))
        writer.write(msgpack.packb([0, 2, "hello", [{"protocol": 1, "name": "leo"}]]))
        await reader.read(1 << 20)
        writer.write(msgpack.packb([0, 3, "dream.context", [{"trauma_level": 0.9}]]))
        decision = msgpack.unpackb(await reader.read(1 << 20))[3]
        writer.close()
    print(json.dumps([answer[3]["state"], decision["reason"], "numpy" in sys.modules, "rich" in sys.modules]))
asyncio.run(main(Path(sys.argv[1])))
"""


def test_the_daemon_never_imports_numpy():
    """It would add 15 MB and 70 ms. `dreamctl effect` alone uses it."""
    reached = reached_from("dreamd.__main__")
    assert {"dreamd.daemon", "dreamd.wire.handlers", "dreamd.dream.replay"} <= reached
    assert "numpy" not in outside(reached)


def test_a_decision_imports_neither_numpy_nor_rich(tmp_path):
    env = {key: value for key, value in os.environ.items() if not key.startswith("DREAM")}
    said = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path], capture_output=True, text=True, check=True, env=env
    )
    assert said.stdout == '["ok", "no_hooks", false, false]\n'


def test_the_inbox_writer_is_light():
    """Other programs import it, so it imports no loop, no database and no numpy."""
    code = (
        "import sys; from dreamd.inbox import persist_dream_shards, CapabilityError, ValidationError; "
        "print(sorted({'asyncio', 'aiosqlite', 'uvloop', 'numpy', 'sqlite3'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


# The daemon's parts, from below up: each imports from those before it, and from itself. The longest name that a
# module's begins with is its part.
PARTS = (
    "dreamd.errors", "dreamd.clock", "dreamd.process.exit_codes", "dreamd.failures", "dreamd.process", "dreamd.dream",
    "dreamd.inbox.errors", "dreamd.inbox.capability", "dreamd.inbox.document", "dreamd.inbox.redaction",
    "dreamd.inbox.settings", "dreamd.settings", "dreamd.inbox", "dreamd.store.file", "dreamd.store", "dreamd.engine",
    "dreamd.wire", "dreamd.housekeeping", "dreamd.daemon", "dreamd.embedded", "dreamd.embedded_waiting", "dreamd.app",
    "dreamd.__main__", "dreamd.ctl.stand_in", "dreamd.ctl.terminal", "dreamd.ctl.machine", "dreamd.ctl.daemon",
    "dreamd.ctl.commands", "dreamd.ctl",
)  # fmt: skip
COMMANDS = "dreamd.ctl.commands."
MOST_FILES, MOST_LINES, MOST_FUNCTION_LINES = 16, 350, 50


def part(module):
    """Return how high a module of the daemon stands; its version, and the client, below all."""
    if module == "dreamd" or not module.startswith("dreamd."):
        return -1
    return PARTS.index(max((one for one in PARTS if f"{module}.".startswith(f"{one}.")), key=len))


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith("dreamd")))
def test_imports_of_the_daemon_point_downwards(module):
    for name in imported_by(module) & MODULES.keys():
        assert part(name) <= part(module), f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith(COMMANDS)))
def test_a_command_imports_no_other_command(module):
    own = module.removeprefix(COMMANDS).partition(".")[0]
    others = {
        name.removeprefix(COMMANDS).partition(".")[0]
        for name in imported_by(module) & MODULES.keys()
        if name.startswith(COMMANDS)
    }
    assert others <= {own}


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions count too, except the one import of the daemon by the client."""
    for module in MODULES:
        if module != "dreamclient.clients.embedded":
            assert module not in reached_from(module, packages=False), module


def test_folders_have_few_files():
    for folder in {path.parent for path in MODULES.values()}:
        if folder.name != "commands":  # there a file is a command
            assert len(list(folder.glob("*.py"))) <= MOST_FILES, folder


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_and_functions_are_short(module):
    text = MODULES[module].read_text()
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < MOST_FUNCTION_LINES, node.name


def test_few_names_are_one_lower_case_word():
    """A name that is used outside of its file says what is done to what: at most a fifth may be one word."""
    names = {
        node.name
        for path in MODULES.values()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    assert sum(re.fullmatch("_?[a-z0-9]+", name) is not None for name in names) <= 0.2 * len(names)
