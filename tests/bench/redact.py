"""Redaction of hostile text against plain text of equal size.

Each hostile text is 256 KiB of one piece over and over: what a pattern begins with, what almost completes it, what it
could be tried on from every character.
"""

import random
import time
from collections import Counter

from dreamd.inbox.redaction.redact import redact_parts
from tests.bench.harness import Bench, Bound, Figures

SIZE = 1 << 18

PROSE = """the dream of a small organism who speaks of trust, and of numbers like 42 or 3.14; on 2025-11-22 at 10:30
he said: hello (again)! version 1.2.3 at https://example.org/path?x=1 and so on. The field remembers; leo's friend
drifts..."""

PIECES = [
    *("@", "a@", "a@b.", "a@b.c ", "a.", "é@", "@a.", "a%40"),
    *(
        "1;",
        "1234567;",
        "1 ",
        "1-",
        "+1 ",
        "(1) ",
        "((1",
        "12345678 x",
        "+14155552671 ",
        "415-555-2671 ",
        "91 123 45 67, ",
    ),
    *("sk-", "sk-aaaaaaaaaaaaaaaaaaa ", "AKIA", "AIza", "ghp_", "ghp_a ", "12345678:AA ", "SG.", "hvs."),
    *(
        "eyJ",
        "-eyJ",
        "eyJaaaaaaaa.",
        "eyJaaaaaaaa.eyJaaaaaaaa.!",
        "bearer ",
        "bearer aaaaaaaa ",
        "authorization: basic ",
    ),
    *(
        "cookie:",
        "cookie: a",
        "cookie: a=\n",
        "&",
        "&a=",
        "&token=",
        "&token=a",
        "?a_",
        "#a_a",
        "://",
        "://a:",
        "://a:b@",
    ),
    *('"token":', '"token":"', "'token':\"", '"a_', '\\"', "'", '"token":"\\"'),
    *(
        "-----BEGIN ",
        "-----BEGIN PRIVATE " + "KEY-----",
        "-----END ",
        "A_",
        "TOKEN=",
        "TOKEN= ",
        *(
            "token=[key]",
            "token=***REDACTED***",
            "PWD=/",
            "token://",
            "token='",
            'token="',
            'token=\\"',
            "token=\\",
        ),
        *(
            "--token ",
            "<token>",
            "%3Dtoken",
            "%3Dtoken%3D",
            "cookie: a=b;",
            "auth: digest a=b,",
            "abc=",
            "M1-",
            "\\n",
        ),
        *(
            '"tokens":[1,',
            '"token":[',
            '"token":{',
            "tokens=5&",
            "a_token: x\n",
            "token = ",
            "a:a:a",
            "sk-a-",
            "glpat-.",
        ),
        *(
            "%3A%2F%2Fa",
            "%40",
            "basic aaaa:",
            "basic YTpi ",
            "-u a:",
            "&quot;token&quot;:",
            "\\u0022",
            "%22token%22%3A",
        ),
        "_",
        "-",
        "(",
        " ",
        "\n",
    ),
]


def fill(piece: str) -> str:
    return (piece * (SIZE // len(piece) + 1))[:SIZE]


def hostile_texts() -> dict[str, str]:
    texts = {repr(piece): fill(piece) for piece in PIECES}
    texts["one long run of digits, then a letter"] = fill("1 ")[:-1] + "x"
    texts["one long word, then @"] = "a" * (SIZE - 1) + "@"
    texts["@, then one long word"] = "@" + "a" * (SIZE - 1)
    texts["a quote that never ends"] = '"token":"' + "\\\\" * (SIZE // 2 - 5)
    return texts


def bench(quick: bool) -> Bench:
    """Return the comparison: processor time of 256 KiB of prose, and of the worst hostile text of that size."""
    systems = {"prose": prose, "hostile, worst": hostile}
    return Bench(
        "redact",
        systems,
        [Bound("hostile, worst", "busy_ms", most=3.0, over="prose", what="redaction of hostile text")],
        rounds=1,
    )


def prose() -> Figures:
    draw = random.Random(1)
    return {"busy_ms": busy_ms(" ".join(draw.choice(PROSE.split()) for _ in range(SIZE // 4))[:SIZE])}


def hostile() -> Figures:
    return {"busy_ms": max(map(busy_ms, hostile_texts().values()))}


def busy_ms(text: str) -> float:
    began = time.process_time()
    redact_parts([{"text": text}], Counter())
    return 1000 * (time.process_time() - began)
