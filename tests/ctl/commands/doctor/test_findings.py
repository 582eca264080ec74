"""The findings of the doctor from given facts, which are hard to produce on a machine."""

import errno
import os
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dreamd import settings
from dreamd.ctl.commands.doctor import daemon, database, dreaming, inbox, places
from dreamd.ctl.commands.doctor import service as units
from dreamd.ctl.commands.doctor import settings as settings_section
from dreamd.ctl.commands.doctor.daemon import CURES, Answers
from dreamd.ctl.commands.doctor.database import Database
from dreamd.ctl.commands.doctor.finding import findings_of
from dreamd.ctl.commands.doctor.inbox import InboxFacts
from dreamd.ctl.commands.doctor.places import LITTLE_BYTES
from dreamd.ctl.machine import places as place
from dreamd.ctl.machine.places import SocketFacts, StateFacts, is_stopped, lock_holder, mount_point
from dreamd.ctl.machine.systemd_state import SERVICE, SOCKET, UnitFacts
from dreamd.housekeeping import RESOURCE_REASONS
from dreamd.inbox import DamagedFile, InboxUnavailable, ValidationError
from dreamd.store.file.health import CLOSED, UNANSWERED, UNAVAILABLE_REASONS
from tests.helpers.waiting import until

OURS = os.getuid()
STATUS = {
    "version": "0.1.0",
    "protocol": 1,
    "pid": 7,
    "uptime_s": 9.0,
    "state": "ok",
    "state_dir": "/s",
    "sessions": [],
    "failures": {},
    "last_errors": [],
    "seeded": True,
    "inbox": {"folder": "/s/inbox", "enabled": True, "trouble": None},
}
STATE = StateFacts(Path("/s"), "folder", free_bytes=LITTLE_BYTES)
HELD = StateFacts(Path("/s"), "folder", holder=5)


def lines(findings):
    return [f"{one.level} {one.text}" for one in findings]


def only(findings):
    [line] = lines(findings)
    return line


# The places.


@pytest.mark.parametrize(
    ("facts", "seen", "says"),
    [
        (SocketFacts(Path("/r/s"), "socket", OURS, 0o600, 0o700), {"listener": 5}, "OK /r/s"),
        (SocketFacts(Path("/r/s"), "socket", OURS), {"listener": 5, "deaf": True, "state": HELD}, "OK /r/s"),
        (SocketFacts(Path("/r/s"), "socket", OURS), {"listener": 5, "deaf": True}, "FAIL pid 5 listens at /r/s, and"),
        (SocketFacts(Path("/r/s"), "socket", OURS), {"listener": 0, "deaf": True}, "FAIL another program listens at"),
        (SocketFacts(Path("/r/s"), "socket", OURS, 0o600, 0o700), {"guarded": True}, "OK /r/s"),
        (SocketFacts(Path("/r/s"), "socket", OURS, 0o600, 0o700), {}, "FAIL /r/s is stale: no process listens"),
        (SocketFacts(Path("/r/s"), "socket", OURS, 0o666, 0o700), {"listener": 5}, "WARN /r/s has mode 0666"),
        (SocketFacts(Path("/r/s"), "socket", OURS, 0o600, 0o777), {"listener": 5}, "WARN /r/s has mode 0600"),
        (SocketFacts(Path("/r/s"), "socket", OURS + 1, 0o600, 0o700), {}, f"FAIL /r/s belongs to uid {OURS + 1}"),
        (SocketFacts(Path("/r/s"), "other"), {}, "FAIL /r/s is no socket"),
        (SocketFacts(Path("/r/s"), "absent"), {}, "OK none at /r/s"),
        (SocketFacts(Path("/r/s"), "absent"), {"guarded": True}, "FAIL there is none at /r/s, though systemd listens"),
        (SocketFacts(Path("/r/s"), "absent"), {"state": HELD}, "FAIL there is none at /r/s, and a daemon (pid 5)"),
        (SocketFacts(Path("/r/s"), "absent"), {"state": replace(HELD, embedded=True)}, "OK none at /r/s: an embedded"),
        (SocketFacts(Path("/" + "r" * 107), "absent"), {}, f"FAIL /{'r' * 107} has 108 bytes"),
    ],
)  # fmt: skip
def test_finding_of_each_kind_of_socket(facts, seen, says):
    whole = {"listener": None, "deaf": False, "guarded": False, "state": STATE} | seen
    assert only(places.check_socket(facts, OURS, **whole)).startswith(says)


def test_advises_a_command_that_closes_the_socket_to_others():
    facts = SocketFacts(Path("/r/a b"), "socket", OURS, 0o666, 0o700)
    [finding] = places.check_socket(facts, OURS, listener=5, deaf=False, guarded=False, state=HELD)
    assert finding.advice.endswith(" `chmod 600 '/r/a b'`")


def test_a_full_backlog_counts_as_a_listener(tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "s"))
        assert place.listener_pid(tmp_path / "s") is None
        listener.listen(0)
        first.connect(str(tmp_path / "s"))
        assert place.listener_pid(tmp_path / "s") == 0
        listener.accept()[0].close()
        assert place.listener_pid(tmp_path / "s") == os.getpid()
    assert place.listener_pid(tmp_path / "gone") is None


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"kind": "absent"}, []),
        ({"kind": "other"}, ["FAIL /s is no folder"]),
        ({"file_system": "ext4"}, ["OK /s lies on ext4"]),
        ({"writable": False}, ["FAIL /s cannot be written", "OK "]),
        ({"file_system": "nfs4"}, ["WARN /s lies on nfs4, where SQLite's locks cannot be relied on", "OK "]),
        ({"file_system": "fuse.sshfs"}, ["WARN /s lies on fuse.sshfs", "OK "]),
        ({"free_bytes": LITTLE_BYTES - 1}, ["WARN the disk is nearly full: 16.8 MB left"]),
        ({"free_bytes": 127_000}, ["WARN the disk is nearly full: 127 kB left"]),
        ({"free_bytes": 0}, ["FAIL the disk is full: 0 B left"]),
    ],
)
def test_finding_of_each_kind_of_state_folder(facts, says):
    told = lines(
        places.check_state(
            StateFacts(**{"path": Path("/s"), "kind": "folder", "free_bytes": LITTLE_BYTES} | facts)
        )
    )
    assert [line.startswith(start) for line, start in zip(told, says, strict=True)] == [True] * len(says)


def test_advises_what_makes_a_folder_writable():
    ours = StateFacts(Path("/s"), "folder", writable=False)
    assert next(places.check_state(ours)).advice == "make it writable: `chmod u+rwx /s`"
    read_only = places.check_state(replace(ours, read_only=True))
    assert next(read_only).advice == "as root, `mount -o remount,rw /`"


def test_little_room_is_a_failure_if_the_daemon_reports_a_full_disk():
    facts = StateFacts(Path("/s"), "folder", free_bytes=127_000)
    assert only(places.check_state(facts, "disk full")).startswith("FAIL the disk is full: 127 kB left")
    assert only(places.check_state(facts, "locked")).startswith("WARN ")


MOUNTS = """\
1 0 8:1 / / rw - ext4 /dev/sda rw
2 1 0:5 / /home rw,relatime shared:3 - nfs4 server:/home rw
3 1 0:6 / /home/a\\040b rw - btrfs /dev/sdb rw
4 1 0:7 / /home/a\\040b rw - cifs //server rw
"""


@pytest.mark.parametrize(
    ("path", "at", "kind"),
    [
        ("/", "/", "ext4"),
        ("/homes", "/", "ext4"),
        ("/home/x", "/home", "nfs4"),
        ("/home/a b/c", "/home/a b", "cifs"),
    ],
)
def test_file_system_is_that_of_the_last_nearest_mount(path, at, kind):
    assert mount_point(Path(path), MOUNTS) == (at, kind)


def test_recognizes_a_stopped_process():
    assert not is_stopped(os.getpid())
    assert not is_stopped(0)
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        sleeper.send_signal(signal.SIGSTOP)
        until(lambda: is_stopped(sleeper.pid), "it is stopped")
        sleeper.kill()


def test_finds_the_process_that_holds_the_lock(tmp_path):
    lock = tmp_path / "dreamd.lock"
    assert lock_holder(lock, "") == 0
    lock.touch()
    inode = lock.stat().st_ino
    of_others = f"1: POSIX  ADVISORY  WRITE 11 08:01:{inode} 0 EOF\n"
    of_others += f"2: FLOCK  ADVISORY  WRITE 12 08:01:{inode + 1} 0 EOF\n"
    assert lock_holder(lock, of_others) == 0
    waiting = f"3: -> FLOCK  ADVISORY  WRITE 13 08:01:{inode} 0 EOF\n"
    assert lock_holder(lock, of_others + waiting) == 0
    assert (
        lock_holder(lock, of_others + waiting + f"3: FLOCK  ADVISORY  WRITE 14 08:01:{inode} 0 EOF\n") == 14
    )


# The daemon.


@pytest.mark.parametrize(
    "trouble",
    [
        *(word for word in UNAVAILABLE_REASONS if word != CLOSED),
        *RESOURCE_REASONS,
        UNANSWERED,
        "starting",
        "stopping",
    ],
)
def test_every_trouble_has_advice(trouble):
    answers = Answers(STATUS | {"state": f"degraded: {trouble}"})
    [finding] = daemon.check_daemon(answers, STATE, Path("/r/s"), UnitFacts())
    assert (finding.level, finding.text, finding.advice) == ("FAIL", f"degraded: {trouble}", CURES[trouble])


def test_a_stopped_daemon_is_a_failure_unless_systemd_listens():
    def told(units):
        [finding] = daemon.check_daemon(Answers(), STATE, Path("/r/s"), units)
        return f"{finding.level} {finding.text} -> {finding.advice}"

    waits = UnitFacts(
        installed=True, shown={SOCKET: {"ActiveState": "active"}, SERVICE: {"ActiveState": "inactive"}}
    )
    assert told(waits) == "OK does not run; leo's first connection starts it -> "
    failed = UnitFacts(
        installed=True, shown={SOCKET: {"ActiveState": "active"}, SERVICE: {"ActiveState": "failed"}}
    )
    assert failed.guarded
    assert told(failed) == "FAIL does not run -> see section service"
    assert told(UnitFacts()) == "FAIL does not run -> `dreamctl service start`"
    [taken] = daemon.check_daemon(Answers(silence="not a word"), STATE, Path("/r/s"), UnitFacts())
    assert (taken.level, taken.advice) == ("FAIL", "see section socket")
    assert told(UnitFacts(manager=True)) == "FAIL does not run -> `dreamctl service start`"


@pytest.mark.parametrize(
    ("state", "answers", "units", "says"),
    [
        (
            {"stopped": True},
            Answers(),
            UnitFacts(),
            "and is stopped (SIGSTOP) -> let it go on: `kill -CONT 5`",
        ),
        ({}, Answers(), UnitFacts(), "and was not asked -> see section socket"),
        (
            {},
            Answers(silence="no answer in time"),
            UnitFacts(),
            "and does not answer: no answer in time -> end it, nothing that was said is lost: `kill -KILL 5`, then `d",
        ),
        (
            {},
            Answers(),
            UnitFacts(shown={SOCKET: {"ActiveState": "active"}, SERVICE: {"ActiveState": "inactive"}}),
            "and the service cannot start beside it -> end that one: `kill 5`",
        ),
    ],
)
def test_reports_a_silent_process_that_holds_the_state_folder(state, answers, units, says):
    facts = StateFacts(Path("/s"), "folder", holder=5, **state)
    [finding] = daemon.check_daemon(answers, facts, Path("/r/s"), units)
    assert f"{finding.level} {finding.text} -> {finding.advice}".startswith(f"FAIL pid 5 holds /s, {says}")


def test_each_failure_is_reported_in_its_section():
    failures = {"host: observe": 2, "peer: slow reader": 3, "generate: TypeError": 4, "store: locked": 1}
    refusals = {"unknown method: UNKNOWN_METHOD": 1, "why: INVALID_PARAMS": 1, "dream.now: NO_HOOKS": 1}
    unanswered = {"dream.context: INVALID_PARAMS": 1}
    answers = Answers(STATUS | {"failures": failures | unanswered, "refusals": refusals})
    assert lines(daemon.check_daemon(answers, STATE, Path("/r/s"), UnitFacts()))[1:] == [
        "WARN 3 × peer: slow reader",
        "WARN 1 × dream.context: INVALID_PARAMS",
    ]
    assert lines(daemon.check_host(answers)) == ["WARN 2 × observe raised"]


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        ({}, ["OK dreamd 0.1.0, protocol 1"]),
        ({"version": "0.0.9"}, ["WARN dreamd 0.0.9 runs, 0.1.0 is installed"]),
        ({"version": "2.0", "protocol": 9}, ["FAIL dreamd 2.0 speaks protocol 9, dreamctl 0.1.0 speaks 1"]),
        (
            {
                "sessions": [
                    {"name": "leo", "pid": 5, "version": "0.0.9"},
                    {"name": "new", "pid": 6, "version": ""},
                ]
            },
            ["OK dreamd 0.1.0, protocol 1", "WARN leo (pid 5) has dreamd-client 0.0.9, 0.1.0 is installed"],
        ),
    ],
)
def test_finding_of_each_combination_of_versions(theirs, says):
    assert lines(daemon.check_versions(Answers(STATUS | theirs))) == says


def test_an_answer_of_unknown_shape_affects_only_its_section():
    told = lines(
        findings_of("daemon", daemon.check_daemon, Answers({"state": "ok"}), STATE, Path("/r/s"), UnitFacts())
    )
    assert told == ["WARN not as this dreamctl knows it (KeyError)"]


# The units.

WELL = {
    SOCKET: {"ActiveState": "active", "UnitFileState": "enabled"},
    SERVICE: {"ActiveState": "active", "SubState": "running", "StatusText": "waiting for leo"},
}


def installed(**of_service):
    return UnitFacts(manager=True, installed=True, shown={**WELL, SERVICE: WELL[SERVICE] | of_service})


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (UnitFacts(), "OK no user manager of systemd here"),
        (UnitFacts(True, True, runs=False, interpreter="/x", shown=WELL), "FAIL its interpreter /x is gone"),
        (UnitFacts(True, True, edited=(Path("/u"),), shown=WELL), "WARN edited by hand: /u"),
        (UnitFacts(True, True), "FAIL stopped, and its socket too"),
        (UnitFacts(manager=True), "WARN no units are installed"),
        (UnitFacts(installed=True), "WARN the units are installed, and no user manager answers"),
        (installed(), "OK waiting for leo"),
        (installed(StatusText=""), "OK active"),
        (replace(installed(), running="/y", interpreter="/x"), "WARN /y runs, and the unit names /x"),
        (
            replace(
                installed(ActiveState="activating"), running="/y", interpreter="/x"
            ),  # before it is executed
            "OK waiting for leo",
        ),
        (installed(LoadState="not-found"), "FAIL systemd has no dreamd.service"),
        (UnitFacts(hangs=True), "FAIL the user manager of systemd does not answer"),
        (UnitFacts(True, True, masked=("dreamd.service",)), "FAIL masked: dreamd.service"),
        (installed(DropInPaths="/d.conf"), "OK waiting for leo; changed by /d.conf"),
        (
            installed(SubState="auto-restart", NRestarts="3"),
            "FAIL crashes and is started again, 3 times so far",
        ),
        (
            installed(ActiveState="activating", SubState="start-pre", NRestarts="3"),
            "FAIL crashes and is started again, 3 times so far",
        ),
        (
            installed(ActiveState="failed", Result="exit-code", ExecMainStatus="4", NRestarts="0"),
            "FAIL systemd has given up (dreamd.service: exit-code), exit code 4: the state folder cannot be used",
        ),
        (
            installed(ActiveState="failed", Result="watchdog", NRestarts="10"),
            "FAIL systemd has given up after 10 restarts (dreamd.service: watchdog)",
        ),
        (
            installed(ActiveState="failed", Result="signal", ExecMainCode="2", ExecMainStatus="9"),
            "FAIL systemd has given up (dreamd.service: signal), killed by SIGKILL",
        ),
    ],
)
def test_finding_of_each_state_of_the_units(facts, says):
    assert lines(units.check_service(facts, False, STATE))[0] == says or lines(
        units.check_service(facts, False, STATE)
    )[0].startswith(f"{says};")


@pytest.mark.parametrize(
    "attempt", [{"SubState": "auto-restart", "ExecMainStatus": "3"}, {"SubState": "start-pre"}]
)
def test_advises_to_end_a_daemon_that_blocks_the_service(attempt):
    facts = installed(ActiveState="activating", NRestarts="3", MainPID="0", **attempt)
    found = next(units.check_service(facts, False, replace(STATE, holder=5)))
    assert (found.level, found.advice) == ("FAIL", "end that one: `kill 5`")


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("absent", "make the state folder: `mkdir -p -m 700 '/my state'`, then "),
        ("folder", "add the drop-in for hosts without user namespaces (docs/guides/service.md), then "),
    ],
)
def test_explains_a_sandbox_that_cannot_be_set_up(kind, advice):
    facts = installed(ActiveState="failed", Result="exit-code", ExecMainCode="1", ExecMainStatus="226")
    found = next(units.check_service(facts, False, StateFacts(Path("/my state"), kind)))
    assert found.advice.startswith(advice)


def test_does_not_fail_for_a_daemon_beside_stopped_units():
    beside = next(units.check_service(UnitFacts(True, True), True, replace(STATE, holder=5)))
    assert (beside.level, beside.advice) == (
        "WARN",
        "end that one: `kill 5`, then `dreamctl service start`",
    )


def test_a_daemon_without_units_is_ok():
    assert lines(units.check_service(UnitFacts(manager=True), True, STATE)) == ["OK no units are installed"]


def test_reports_whether_the_user_lingers():
    facts = UnitFacts(manager=True, installed=True, lingers=True, shown=WELL)
    assert lines(units.check_service(facts, True, STATE))[-1] == "OK lingers: it is there from boot on"


def test_reports_different_paths_of_leo_and_the_service():
    facts = UnitFacts(
        True, True, state=Path("/moved"), shown={**WELL, SOCKET: WELL[SOCKET] | {"Listen": "/r/a (Stream)"}}
    )
    apart = list(units.check_places(facts, Path("/s"), Path("/r/b")))
    assert lines(apart) == [
        "WARN dreamd.socket listens at /r/a, and leo connects to /r/b",
        "WARN dreamd.service serves /moved, and dreamctl looks into /s",
    ]
    assert "set DREAMD_SOCKET=/r/a for leo" in apart[0].advice
    assert "set DREAMD_STATE_DIR=/moved and DREAMD_SOCKET=/r/a " in apart[1].advice
    assert lines(units.check_places(facts, Path("/moved"), Path("/r/a"))) == []
    assert lines(units.check_places(facts, Path("/usr/../moved"), Path("/usr/../r/a"))) == []
    assert lines(units.check_places(UnitFacts(), Path("/s"), Path("/r/b"))) == []
    [second] = units.check_places(facts, Path("/s@bob"), Path("/r/bob.sock"))
    assert (second.level, second.text) == ("OK", "dreamd.service is another leo's")


# The database, leo, his friend and the inbox.


def test_reports_a_too_old_sqlite():
    assert only(database.check_sqlite((3, 34, 1))) == "FAIL SQLite 3.34.1, dreamd needs 3.35.0"


@pytest.mark.parametrize(
    ("lost", "what"),
    [
        (
            {"served": "/s/dream.sqlite3"},
            "is gone, and a daemon serves it: that notices within 15 s, and ends",
        ),
        ({"trouble": "database deleted"}, "is gone"),
        ({"ended": "database deleted (/s/dream.sqlite3)"}, "is gone"),
        ({"served": "/leo/dream.sqlite3"}, "is not there yet; the first start makes it"),
        ({}, "is not there yet; the first start makes it"),
    ],
)
def test_distinguishes_a_removed_database_from_a_missing_one(lost, what):
    [told] = database.check_database(Database("/s/dream.sqlite3", exists=False), **lost)
    assert (told.level, told.text) == ("FAIL" if "gone" in what else "OK", f"/s/dream.sqlite3 {what}")
    assert ("`dreamctl restore FILE`" in told.advice) == (told.level == "FAIL")


def dialog(outcome="complete", lines=3, note=None, at=0.0):
    return {"outcome": outcome, "lines": lines, "note": note, "started_at": at, "trace_id": "t"}


@pytest.mark.parametrize(
    ("latest", "says"),
    [
        ([], []),
        ([dialog(), dialog("hook_error", 0, "generate: TypeError")], ["OK 1 of the last 2 dialogues spoke"]),
        ([dialog("lost", 0), dialog("shutdown", 0), dialog()], ["OK 1 of the last 1 dialogues spoke"]),
        (
            [dialog("left")] * 5,
            ["FAIL 5 of the last 5 dialogues were cut short: leo went away before they ended"],
        ),
        (
            [*[dialog("lost", 1)] * 6, *[dialog()] * 14],
            ["FAIL 6 of the last 10 dialogues were cut short: leo went away before they ended"],
        ),
        ([*[dialog("left")] * 5, *[dialog()] * 15], ["OK 15 of the last 15 dialogues spoke"]),
        ([dialog("left")] * 3, []),
        (
            [dialog("deadline", 2, "generate: timeout")],
            ["WARN his last dialogue was cut short by generate: timeout"],
        ),
        (
            [dialog("deadline", 0, "generate: timeout", 60.0), dialog("empty", 0, None, 50.0), dialog()],
            ["FAIL mute: 2 dialogues ran, 0 spoke: generate: timeout; since "],
        ),
    ],
)
def test_finding_of_each_history_of_dialogues(latest, says):
    told = lines(dreaming.check_leo(Answers(), Database("/d", latest=tuple(latest)), 100.0))
    assert [line.startswith(start) for line, start in zip(told, says, strict=True)] == [True] * len(says)


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("generate (session 2, leo.py:4288 in generate_reply)", " at leo.py:4288"),
        ("generate (session 2)", ""),
        ("observe (session 2, other.py:1 in x)", ""),
    ],
)
def test_names_the_place_of_a_failure_if_it_is_known(where, place):
    answers = Answers(
        STATUS | {"last_errors": [{"type": "TypeError", "where": where}, {"type": "Other", "where": "x"}]}
    )
    assert dreaming._error_place(answers, "generate", "TypeError") == place


def test_finding_of_each_state_of_the_friend():
    assert lines(dreaming.check_friend(Answers(), Database("/d", error="SQLITE_BUSY"))) == []
    assert only(dreaming.check_friend(Answers(STATUS), Database("/d"))) == "OK seeded"
    assert only(dreaming.check_friend(Answers(), Database("/d"))) == "WARN no origin fragments"
    assert lines(dreaming.check_friend(Answers(), Database("/d", version=99))) == []


def decision(reason="calm", **measured):
    gate = {"trauma_above": 0.5, "novelty_above": 0.7}
    return {"reason": reason, "gate": gate, "trauma": None, "novelty": None, "quality": None} | measured


@pytest.mark.parametrize(
    ("decisions", "lines"),
    [
        ([decision(trauma=0.1), decision(trauma=0.3)], ["trauma_above 0.20"]),
        ([decision(trauma=0.1, novelty=0.2), decision(novelty=0.6)], ["novelty_above 0.40"]),
        ([decision(novelty=0.1, trauma=0.4), decision(novelty=0.5, trauma=0.2)], 2),
        ([decision(trauma=0.1), decision(trauma=0.14)], []),
        ([decision()] * 2, []),
        # Open by trauma alone: of novelty, which is at times below its threshold, nothing is said.
        (
            [
                decision("chance", trauma=0.6, novelty=0.1),
                decision("dream", trauma=0.9, novelty=0.9),
            ],
            ["trauma_above 0.75"],
        ),
        # What is always the same is no reason to dream; as real leo's trauma.
        ([decision("chance", trauma=1.0, novelty=0.0)] * 2, ["trauma_above 1.00"]),
        ([decision("chance", trauma=0.996)] * 2, ["trauma_above 1.00"]),
        ([decision("chance", quality=0.4), decision("chance", quality=0.5)], []),
    ],
)
def test_proposes_thresholds_amid_the_measures_of_leo(decisions, lines):
    [finding] = dreaming.check_gates(Answers(STATUS, tuple(decisions * 6)), NOW)
    proposed = re.findall(r"`dreamctl config set gate\.(\w+_above [^`]+)`", finding.advice)
    assert proposed == lines or len(proposed) == lines
    assert finding.level == "WARN"
    assert finding.advice.endswith(", then `dreamctl service restart`") == bool(lines)


@pytest.mark.parametrize(
    ("status", "newest", "text"),
    [
        (
            {"enabled": True, "chance": 0.3},
            decision("disabled"),
            "replies that came to them: 0; too few to judge",
        ),
        ({"enabled": False, "chance": 0.3}, decision(), "shut: gate.enabled is false"),
        ({"enabled": True, "chance": 0.0}, decision(), "shut: gate.chance is 0, he never dreams"),
    ],
)
def test_judges_the_gates_by_the_settings_of_the_daemon_and_not_by_an_old_decision(status, newest, text):
    [finding] = dreaming.check_gates(Answers(STATUS | status, (newest,)), NOW)
    assert finding.text == text


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (InboxUnavailable(errno.EACCES, "x"), CURES["InboxUnavailable"]),
        (InboxUnavailable(errno.EROFS, "x"), "as root, `mount -o remount,rw "),
        (InboxUnavailable(errno.EIO, "x"), CURES["InboxUnavailable"]),
        (ValidationError("x"), CURES["ValidationError"]),
        (DamagedFile("x"), "mend that. Pending shards"),
    ],
)
def test_advice_for_each_error_of_the_inbox(error, advice, monkeypatch):
    monkeypatch.setattr(inbox, "refusal_and_cure", lambda folder: ("", ""))
    assert inbox._cure_of(error, Path("/usr/not there/inbox")).startswith(advice)


@pytest.mark.parametrize("name", [".lock", ".tmp"])
def test_advice_for_what_sudo_left_inside_an_inbox(tmp_path, monkeypatch, name):
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".lock").touch()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path / name)
    monkeypatch.setattr(os, "getuid", lambda: OURS + 1234)
    monkeypatch.setenv("HOME", "/nowhere")
    advice = inbox._cure_of(InboxUnavailable(errno.EACCES, "Permission denied"), tmp_path)
    assert re.match(rf"`sudo chown (-R )?\S+ {tmp_path / name}`", advice), advice


def test_advice_for_a_busy_inbox():
    theirs = STATUS | {"inbox": STATUS["inbox"] | {"trouble": "InboxBusy"}}
    [finding] = inbox.check_inbox(InboxFacts(Path("/s/inbox")), Answers(theirs), 0)
    assert (finding.level, finding.text) == ("FAIL", "/s/inbox: InboxBusy")
    assert finding.advice == CURES["InboxBusy"]


def test_distinguishes_a_quota_from_a_full_disk():
    facts = StateFacts(Path("/s"), "folder", free_bytes=5_000_000_000)
    [finding] = places.check_state(facts, "disk full")
    assert finding.level == "FAIL"
    assert finding.text == "nothing more can be written where /s is, though 5000.0 MB are free"
    assert "`quota -s`" in finding.advice


NOW = 1_700_000_000.0


def lost(count: int, lines: int = 0) -> tuple[dict, ...]:
    return tuple(
        {"outcome": "lost", "lines": lines, "note": None, "started_at": NOW - n, "trace_id": "t"}
        for n in range(count)
    )


@pytest.mark.parametrize(("latest", "level"), [(lost(3), "FAIL"), (lost(2), None), (lost(3, lines=1), None)])
def test_reports_a_leo_that_is_lost_in_each_dialogue(latest, level):
    found = list(dreaming._check_mute(Answers(), Database("/s", latest=latest), NOW))
    assert [finding.level for finding in found] == ([level] if level else [])
    if level:
        assert found[0].text.startswith(
            "in each of the last 3 dialogues he was gone before his first line, since "
        )


def test_says_when_a_mute_leo_is_asked_again():
    silent = ({"outcome": "empty", "lines": 0, "note": None, "started_at": NOW, "trace_id": "t"},)
    status = {"sessions": [{"mute_s": 90.0}], "last_errors": []}
    [finding] = dreaming._check_mute(Answers(status), Database("/s", latest=silent), NOW)
    assert finding.advice.endswith(
        "`dreamctl dream` tries at once. Otherwise he is asked again in 1 min 30 s"
    )


def test_names_the_owner_of_an_inbox_that_cannot_be_entered(monkeypatch):
    monkeypatch.setattr(
        inbox, "refusal_and_cure", lambda folder: ("/x belongs to root (uid 0)", f"`chown {folder}`")
    )
    advice = inbox._cure_of(InboxUnavailable(errno.EACCES, "x"), Path("/x"))
    assert advice == "`chown /x`. Pending shards are then written automatically"


def test_reports_settings_that_are_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "GONE", {"gate.shut": "it opens"})
    told = list(
        settings_section.check_settings(
            settings.read_sources(file=tmp_path / "none", env={"DREAMD_GATE__SHUT": "1"})
        )
    )
    assert [finding.text for finding in told if finding.level == "WARN"] == [
        "ignored, since this version has no such setting: DREAMD_GATE__SHUT (it opens)"
    ]


@pytest.mark.parametrize("feed", [True, False])
def test_says_that_dreams_do_not_reach_him(feed):
    found = dreaming.check_leo(Answers(STATUS | {"feed": feed}), Database("/s"), NOW)
    told = [one for one in found if "dialogue.feed is false" in one.text]
    assert [one.level for one in told] == ([] if feed else ["OK"])
    assert all("config unset dialogue.feed" in one.advice for one in told)
