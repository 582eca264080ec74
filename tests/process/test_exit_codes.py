"""Check that docs/reference/errors.md has the exit codes of dreamd with the texts that the code has."""

from pathlib import Path

from dreamd.process.exit_codes import ExitCode

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    rows = [
        f"| {code.value} | {code.meaning}{f': {code.detail}' if code.detail else ''} |" for code in ExitCode
    ]
    assert "\n".join(["| code | meaning |", "|---|---|", *rows, ""]) in PAGE.read_text()
