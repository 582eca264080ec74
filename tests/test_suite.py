"""The suite itself: a test file for each module, and one process for each file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"

# Modules without a test file of their name, and the file that proves each of them.
ELSEWHERE = {
    # constants, types and errors
    "client/dreamclient/errors.py": "documents/test_errors_page.py",
    "dreamd/dream/outcomes.py": "dream/test_dialogue.py",
    "dreamd/errors.py": "documents/test_errors_page.py",
    "dreamd/inbox/errors.py": "inbox/document/test_document.py",
    "dreamd/wire/parts.py": "daemon/test_daemon.py",
    # parts of a class that another module shows: they are tested by it
    "client/dreamclient/clients/run.py": "client/clients/test_thread.py",
    "client/dreamclient/dropin/process.py": "client/dropin/test_dropin.py",
    "client/dreamclient/protocol/failures.py": "client/protocol/test_session.py",
    "client/dreamclient/protocol/packing.py": "client/protocol/test_rpc.py",
    "dreamd/app.py": "daemon/test_main.py",
    "dreamd/embedded_waiting.py": "client/test_embedded.py",
    "dreamd/engine/events.py": "wire/test_subscriptions.py",
    "dreamd/inbox/folder/files.py": "inbox/folder/test_not_ours.py",
    "dreamd/inbox/folder/keys.py": "inbox/folder/test_parts.py",
    "dreamd/inbox/folder/trace.py": "inbox/folder/test_parts.py",
    "dreamd/inbox/redaction/secret_values.py": "inbox/redaction/test_secret_patterns.py",
    "dreamd/wire/calls.py": "wire/test_session.py",
    # parts of the commands, tested as a user has them
    "dreamd/ctl/commands/export.py": "ctl/commands/test_diary.py",
    "dreamd/ctl/commands/inbox/relay/following.py": "ctl/commands/inbox/relay/test_command.py",
    "dreamd/ctl/commands/prune.py": "ctl/commands/test_forget.py",
    "dreamd/ctl/daemon/activity.py": "ctl/commands/test_status.py",
    "dreamd/ctl/daemon/background.py": "ctl/commands/test_service.py",
    "dreamd/ctl/daemon/completers.py": "ctl/commands/test_completions.py",
    "dreamd/ctl/daemon/dialogue_argument.py": "ctl/commands/test_show.py",
    "dreamd/ctl/daemon/effect.py": "ctl/commands/test_effect.py",
    "dreamd/ctl/daemon/events.py": "ctl/commands/test_watch.py",
    "dreamd/ctl/daemon/inbox.py": "ctl/commands/test_inbox.py",
    "dreamd/ctl/daemon/own.py": "ctl/commands/test_forget.py",
    "dreamd/ctl/daemon/past.py": "ctl/commands/test_diary.py",
    "dreamd/ctl/daemon/service_units.py": "systemd/test_install.py",
    "dreamd/ctl/daemon/source.py": "ctl/daemon/test_start.py",
    "dreamd/ctl/daemon/trace_ids.py": "ctl/commands/test_inbox.py",
    "dreamd/ctl/machine/database_copy.py": "ctl/commands/test_backup.py",
    "dreamd/ctl/machine/output_files.py": "ctl/commands/test_report.py",
    "dreamd/ctl/machine/places.py": "ctl/commands/doctor/test_findings.py",
    "dreamd/ctl/machine/systemctl.py": "systemd/test_install.py",
    "dreamd/ctl/stand_in/leo.py": "ctl/stand_in/test_dialogues.py",
    "dreamd/ctl/terminal/effect.py": "ctl/commands/test_effect.py",
    "dreamd/ctl/terminal/forgotten.py": "ctl/commands/test_forget.py",
    "dreamd/ctl/terminal/progress.py": "ctl/commands/test_backup.py",
    "dreamd/ctl/terminal/since.py": "ctl/commands/test_diary.py",
    "dreamd/ctl/terminal/summaries.py": "ctl/test_main.py",
    "dreamd/engine/forgetting.py": "ctl/commands/test_forget.py",
    "dreamd/engine/undream/unobserve_hook.py": "engine/undream/test_undreaming.py",
}


def modules() -> list[Path]:
    packages = (ROOT / "dreamd", ROOT / "client" / "dreamclient")
    found = (module for package in packages for module in package.rglob("*.py"))
    return sorted(module.relative_to(ROOT) for module in found if module.name != "__init__.py")


def files_of(module: Path) -> Iterator[Path]:
    """Return the test files that `module` may have. A command that is a folder may have one for all of its modules."""
    package, *folders = module.parts[1:-1] if module.parts[0] == "client" else module.parts[:-1]
    if package == "dreamclient":
        folders.insert(0, "client")
    name = f"test_{module.stem.strip('_')}.py"
    yield TESTS.joinpath(*folders or ["daemon"], name)
    if folders[:2] == ["ctl", "commands"] and len(folders) == 3:
        yield TESTS / "ctl" / "commands" / f"test_{folders[2]}.py"


def test_each_module_has_a_test_file_of_its_name_or_is_listed() -> None:
    without = [str(module) for module in modules() if not any(file.exists() for file in files_of(module))]
    assert [module for module in without if module not in ELSEWHERE] == []


def test_the_list_of_modules_tested_elsewhere_has_no_needless_entry() -> None:
    without = {str(module) for module in modules() if not any(file.exists() for file in files_of(module))}
    assert [module for module in ELSEWHERE if module not in without] == []
    assert [file for file in ELSEWHERE.values() if not (TESTS / file).exists()] == []


def test_each_helper_says_first_when_to_use_it() -> None:
    helpers = (TESTS / "helpers").rglob("*.py")
    assert [helper.name for helper in helpers if not helper.read_text().startswith('"""Use ')] == []


def test_a_file_is_run_by_one_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist finds a group by the end of an id. Without that end each test may go to any process."""
    grouped = getattr(request.config.option, "loadgroup", False)
    assert request.node.nodeid.endswith("@test_suite.py") == grouped
