"""The stage of a real leo: a copy of his checkout, a state folder of the daemon, a process for each scene."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from dreamclient.clients.thread import DreamClient

from tests.helpers.daemons.process import DaemonProcess

ROOT = Path(__file__).parents[2]
# Each reply is dreamt of: no cooldown, no chance, and a novelty gate that is never shut.
FORCED = ("gate.cooldown_s=0", "gate.chance=1", "gate.novelty_above=-1")
NATURAL = (
    "gate.cooldown_s=0",
    "gate.chance=1",
)  # what the gates let through, were it not for time and chance
NEVER = ("gate.enabled=false",)  # but where a dream is asked for by `dream.now`
FIRST_SEED = 101
PAUSE_S = 0.3  # between a reply and the next prompt; people take longer
SCENE_S = 3600

Found = dict[str, Any]


class Stage:
    """Runs scenes, each with a copy of the checkout and a state folder of the daemon, in `folder`."""

    def __init__(self, checkout: Path, python: str, folder: Path) -> None:
        self.checkout, self.python, self.folder = checkout, python, folder
        self.count = 0

    def run(
        self,
        scene: str,
        seed: int,
        prompts: int,
        *,
        settings: tuple[str, ...] | None = None,
        absent: bool = False,
        stopped: bool = False,
        diet: str = "diet",
    ) -> Found:
        """Return what scenes.py found, and what the daemon did; without `settings` there is no daemon, and no
        attachment unless one is said to be `absent`."""
        self.count += 1
        place = self.folder / str(self.count)
        kept_out = shutil.ignore_patterns(".git", "state", "bin", "json", "__pycache__")
        shutil.copytree(self.checkout, place / "leo", ignore=kept_out)
        if (place / "leo" / "dream_original.py").exists():  # he is with dreamd already
            (place / "leo" / "dream_original.py").replace(place / "leo" / "dream.py")
        with ExitStack() as stack:
            daemon = None
            socket = str(place / "nowhere.sock") if absent else ""
            if settings is not None:
                options = [option for setting in settings for option in ("--set", setting)]
                daemon = stack.enter_context(DaemonProcess(place / "dreamd", *options))
                socket = str(daemon.socket)
                if stopped:
                    daemon.process.send_signal(signal.SIGSTOP)
            spec = {"scene": scene, "seed": seed, "prompts": prompts, "pause_s": PAUSE_S, "diet": diet}
            spec |= {"socket": socket, "result": str(place / "result.json")}
            self._play(spec, place / "leo")
            found: Found = json.loads((place / "result.json").read_text())
            if daemon is not None and not stopped:
                found |= dreamt(daemon)
        shutil.rmtree(place)
        return found

    def _play(self, spec: Found, checkout: Path) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("DREAM")}
        # What a leo says depends on the order of his sets.
        env |= {"PYTHONPATH": str(ROOT / "client"), "PYTHONHASHSEED": "0"}
        command = [self.python, str(Path(__file__).with_name("scenes.py")), json.dumps(spec)]
        done = subprocess.run(
            command, cwd=checkout, env=env, timeout=SCENE_S, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"the scene {spec['scene']} failed:\n{done.stderr[-2000:]}")


def dreamt(daemon: DaemonProcess) -> Found:
    """Return what the daemon counted, decided and heard."""
    status = daemon.call("status")
    texts = defaultdict[int, list[str]](list)
    observed = Counter[str]()
    with closing(sqlite3.connect(f"file:{status['database']['path']}?mode=ro", uri=True)) as database:
        for dialog, text, mark in database.execute(
            "SELECT dialog_id, text, observed FROM dream_turns ORDER BY dialog_id, turn"
        ):
            texts[dialog].append(text)
            observed[mark] += 1
    with DreamClient(socket_path=daemon.socket, name="onlooker") as onlooker:
        assert onlooker.start(10)
        why = onlooker.call("why", 256)
    return {
        **{name: status[name] for name in ("decisions", "dialogues", "hooks", "failures")},
        "why": why[::-1],
        "texts": list(texts.values()),
        "taken": observed["answered"],
    }
