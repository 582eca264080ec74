"""The messages of a relay: subject, id, and the way back."""

import pytest

from dreamd.ctl.commands.inbox.relay.message import (
    SUBJECT,
    check_subject,
    fill_subject,
    message_id,
    read_file,
    read_message,
)
from dreamd.inbox.errors import DamagedFile, ForeignFile, ValidationError


def test_names_the_machine_and_the_client_of_a_document():
    def subject(goal: object) -> str:
        return fill_subject(SUBJECT, "host.example org", {"seed": {"goal": goal}})

    assert subject("dream of leo") == "dreams.host_example_org.leo"
    assert subject("dream of the *.> one") == "dreams.host_example_org.the_one"
    assert subject("a simulation") == subject(7) == "dreams.host_example_org.other"
    assert fill_subject(SUBJECT, "", {}) == "dreams.other.other"
    assert len(subject("dream of " + "x" * 900)) < 100


def test_accepts_subjects_that_a_server_accepts():
    assert check_subject("a.{client}.b-{machine}") == "a.{client}.b-{machine}"
    for wrong in ("", "a..b", "a.>", "a.*", "a b", ".a", "{trace}", "{", "a.{machine"):
        with pytest.raises(ValueError):
            check_subject(wrong)


def test_an_id_is_that_of_a_trace_and_its_bytes():
    ids = {message_id("t", b"1"), message_id("t", b"2"), message_id("u", b"1")}
    assert len(ids) == 3
    assert message_id("t", b"1") in ids


def test_reads_a_message_back_by_its_document_or_its_id():
    named, unnamed = b'{"trace_id": "t", "shards": []}', b'{"shards": [{"a": 1}]}'
    assert read_message(named, "")[0] == "t"
    assert read_message(unnamed, message_id("u", unnamed))[0] == "u"
    assert read_file("u", unnamed)["shards"] == [{"a": 1}]
    with pytest.raises(ValidationError):
        read_message(unnamed, "")
    with pytest.raises(DamagedFile):
        read_message(b"{", "t:1")
    with pytest.raises(ForeignFile):
        read_file("u", named)
