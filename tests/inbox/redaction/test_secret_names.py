"""The names of secrets, each judged by itself."""

from dreamd.inbox.redaction.secret_names import secrecy_of


def test_a_name_is_judged_by_itself() -> None:
    assert (secrecy_of("password"), secrecy_of("tokens"), secrecy_of("max_tokens"), secrecy_of("name")) == (
        "secret",
        "count",
        "",
        "",
    )
