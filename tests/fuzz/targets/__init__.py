"""What is fuzzed: pure functions of bytes, each of which raises if something is wrong."""

from collections.abc import Callable, Mapping

from tests.fuzz.targets import inbox, redaction, settings, stored, wire

Target = Callable[[bytes], None]
TARGETS: Mapping[str, Target] = {
    "wire-stream": wire.read_stream,
    "wire-frame": wire.read_frame,
    "wire-params": wire.serve_params,
    "wire-host": wire.end_of_a_host,
    "settings": settings.read_file,
    "inbox-file": inbox.read_document,
    "inbox-node": inbox.read_node,
    "redaction-text": redaction.redact_text,
    "redaction-value": redaction.redact_value,
    "stored-column": stored.read_column,
    "stored-keys": stored.read_keys,
    "stored-friend": stored.read_friend,
}
# Targets that read MessagePack, and the bytes in front of it.
PACKED = {
    "wire-stream": 1, "wire-frame": 0, "wire-params": 1, "wire-host": 0, "inbox-node": 0, "stored-keys": 0,
    "stored-column": 1,
}  # fmt: skip
