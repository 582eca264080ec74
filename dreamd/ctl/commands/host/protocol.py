"""The lines between `dreamctl host` and its command, without I/O. docs/reference/host.md defines them.

A message about a wrong line names keys and types, never a text of the host.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from dreamclient.messages import MESSAGE_BYTES, Method
from msgspec import Meta, Struct, convert

from dreamd.dream.model import TEXT_CHARS, Context, LineMetrics

LINE_BYTES = MESSAGE_BYTES  # of one line; a hello with an origin is the longest
ORIGIN_TEXTS = 4096  # as many as the daemon takes
ERROR_CHARS = 4096

HookName = Literal["generate", "observe", "recall", "unobserve"]
Text = Annotated[str, Meta(max_length=TEXT_CHARS)]

# The keys of a call, before those of its `meta`.
_KEYS: Final = {
    Method.GENERATE: ("seed", "temperature", "semantic_weight"),
    Method.OBSERVE: ("text",),
    Method.RECALL: ("query", "n"),
    Method.UNOBSERVE: ("added",),
}
_MEASURES = LineMetrics.__struct_fields__
# The beginning of an error that names its kind. The rest may be text of a conversation.
_KIND = re.compile(r"([A-Za-z_][\w.]{0,58}(?:Error|Exception))\b")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")


class BadLine(Exception):
    """A line that the host may not send. `call`: the id of the call that it was to answer, or None."""

    def __init__(self, what: str, call: int | None = None) -> None:
        super().__init__(what)
        self.call = call


class Hello(Struct):
    """The first line of a host."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    provides: list[HookName]
    origin: Annotated[list[str], Meta(max_length=ORIGIN_TEXTS)] = []
    field: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    concurrent: bool = False


class Report(Struct):
    """A context, checked and as it came."""

    context: dict[str, Any]


class Answer(LineMetrics, kw_only=True):
    """The answer to a call, of any hook."""

    id: int
    error: Annotated[str, Meta(max_length=ERROR_CHARS)] | None = None
    text: Text | None = None
    texts: list[Text] | None = None
    taken: bool | None = None
    added: Any = None
    undone: bool = True
    missing: Annotated[int, Meta(ge=0)] = 0


def parse_line(data: bytes) -> Hello | Report | Answer:
    """Return what a line of the host says. Raise BadLine."""
    found = _decode_object(data)
    kinds = [key for key in ("hello", "context", "id") if key in found]
    if len(kinds) != 1:
        raise BadLine(f"expected one of the keys hello, context and id, got {' and '.join(kinds) or 'none'}")
    number = found.get("id")
    try:
        if kinds == ["id"]:
            return convert(found, Answer)
        if kinds == ["hello"]:
            return convert(found["hello"], Hello)
        convert(found["context"], Context)
        return Report(found["context"])
    except msgspec.ValidationError as error:
        call = number if type(number) is int else None
        raise BadLine(_in_words(kinds[0], str(error)), call) from None


def _decode_object(data: bytes) -> dict[str, Any]:
    if not data.lstrip().startswith(b"{"):
        raise BadLine("it is no JSON object: stdout is for the protocol alone, print the rest to stderr")
    try:
        found: dict[str, Any] = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = str(error) if isinstance(error, msgspec.DecodeError) else "it is not UTF-8, or too deep"
        raise BadLine(f"it is not valid JSON: {why}") from None
    return found


def _in_words(kind: str, message: str) -> str:
    """Return the sentence of a ValidationError with its place first: `text: expected str of length <= 4000`."""
    place = _PLACE.search(message)
    inner = place[1] if place else ""
    head = inner if kind == "id" and inner else f"{'answer' if kind == 'id' else kind}.{inner}".rstrip(".")
    words = _PLACE.sub("", message).replace("`", "")
    return f"{head}: {words[:1].lower()}{words[1:]}"


def answer_value(method: str, answer: Answer, most: int = 0) -> Any:
    """Return what the hook `method` returns for this answer; of `recall` at most `most` texts. Raise BadLine if the
    answer lacks what the hook must return."""
    measures = {name: value for name in _MEASURES if (value := getattr(answer, name)) is not None}
    if method == Method.UNOBSERVE:
        return {"undone": answer.undone, "missing": answer.missing}
    if method == Method.RECALL:
        if answer.texts is None or len(answer.texts) > most:
            raise BadLine(f"texts: expected a list of at most {most} texts", answer.id)
        return answer.texts
    if method == Method.GENERATE:
        if answer.text is None:
            raise BadLine("text: it is missing from the answer to generate", answer.id)
        return {"text": answer.text, **measures}
    more = {"taken": answer.taken, "added": answer.added}
    return measures | {key: value for key, value in more.items() if value is not None}


def error_kind(error: str) -> str:
    """Return the kind of a host's error, such as `ValueError`: all of it that is passed on."""
    named = _KIND.match(error)
    return named[1] if named else "HostError"


def call_line(number: int, method: str, values: tuple[Any, ...], meta: Mapping[str, Any]) -> bytes:
    """Return the line of a call. It has no blanks between its tokens, so `"turn":` stands in no text."""
    about = {**dict(zip(_KEYS[method], values, strict=True)), **meta}
    return msgspec.json.encode({"id": number, method: about}) + b"\n"
