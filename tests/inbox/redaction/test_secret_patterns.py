"""Each secret format, wherever it can stand: bare, in a sentence, in a URL, quoted, in JSON, in JSON within JSON.

The secrets are made here from pieces, so that this file holds none.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from dreamd.inbox.redaction.redact import redact_parts

MIXED = "aB3dE5gH7jK9mN2pQ4sT6vW8xZ1cF0iL" * 5
HEX = "0a1b2c3d4e5f67890a1b2c3d4e5f6789" * 4
UPPER = "Q4S6T8V2W3X5Z7A9" * 6
JSON64 = "ey" + "J"
LOWER = MIXED.lower().replace("0", "o")

# name -> the text, and what of it must be gone
FORMATS: dict[str, tuple[str, list[str]]] = {
    "age": ("AGE-SECRET" + "-KEY-1" + UPPER[:58], [UPPER[:8]]),
    "anthropic": ("sk-" + "ant-api03-" + MIXED[:90], [MIXED[:8]]),
    "aws": ("AK" + "IA" + UPPER[:16], [UPPER[:8]]),
    "azure ad": ("abc8" + "Q~" + MIXED[:34], [MIXED[:8]]),
    "azure connection": (
        "DefaultEndpointsProtocol=https;AccountName=x;AccountKey="
        + MIXED[:86]
        + "==;EndpointSuffix=core.example",
        [MIXED[:8], MIXED[78:86]],
    ),
    "azure service bus": (
        "Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey=" + MIXED[:43] + "=",
        [MIXED[:8]],
    ),
    "azure signed url": ("https://x.example/c?sv=2022&sig=" + MIXED[:40] + "%3D", [MIXED[:8]]),
    "databricks": ("da" + "pi" + HEX[:32], [HEX[:8]]),
    "digitalocean": ("do" + "p_v1_" + HEX[:64], [HEX[:8]]),
    "discord bot": ("MTA" + MIXED[:21] + "." + MIXED[:6] + "." + MIXED[:27], [MIXED[:6]]),
    "discord webhook": ("https://discord.com/api/webhooks/123456789012345678/" + MIXED[:68], [MIXED[:8]]),
    "docker": ("dc" + "kr_pat_" + MIXED[:27], [MIXED[:8]]),
    "github": ("gh" + "p_" + MIXED[:36], [MIXED[:8]]),
    "github app": (
        "gh" + "s_1234567_" + JSON64 + MIXED[:20] + "." + JSON64 + LOWER[:30] + "." + MIXED[32:75],
        [MIXED[:8], LOWER[:8], MIXED[65:75]],
    ),
    "github fine-grained": ("github" + "_pat_" + MIXED[:22] + "_" + MIXED[:59], [MIXED[:8]]),
    "gitlab": ("gl" + "pat-" + MIXED[:20], [MIXED[:8]]),
    "gitlab routable": ("gl" + "pat-" + MIXED[:40] + ".01." + HEX[:9], [MIXED[:8], HEX[:8]]),
    "google api": ("AI" + "za" + MIXED[:35], [MIXED[:8]]),
    "google client": ("GOC" + "SPX-" + MIXED[:28], [MIXED[:8]]),
    "google oauth": ("ya" + "29." + MIXED[:60], [MIXED[:8]]),
    "hugging face": ("h" + "f_" + MIXED[:34], [MIXED[:8]]),
    "jwt": (JSON64 + MIXED[:20] + "." + JSON64 + LOWER[:30] + "." + MIXED[10:53], [MIXED[:8], LOWER[:8]]),
    "jwt, encrypted": (
        JSON64 + MIXED[:30] + ".." + LOWER[:16] + "." + MIXED[:40] + "." + HEX[:22],
        [MIXED[:8], LOWER[:8], HEX[:8]],
    ),
    "npm": ("np" + "m_" + MIXED[:36], [MIXED[:8]]),
    "openai": ("sk-" + "proj-" + MIXED[:48], [MIXED[:8]]),
    "openai, older": ("sk-" + MIXED[:48], [MIXED[:8]]),
    "openssh, bare": ("b3BlbnNzaC1rZXktdjE" + MIXED[:60], [MIXED[:8]]),
    "pem": (
        f"-----BEG{'IN'} RSA PRIVATE KEY-----\n{MIXED[:64]}\n{LOWER[:64]}\n-----E{'ND'} RSA PRIVATE KEY-----",
        [MIXED[:8], LOWER[:8]],
    ),
    "openssh": (
        f"-----BEG{'IN'} OPENSSH PRIVATE KEY-----\n{MIXED[:64]}\n-----E{'ND'} OPENSSH PRIVATE KEY-----",
        [MIXED[:8]],
    ),
    "pgp": (
        f"-----BEG{'IN'} PGP PRIVATE KEY BLOCK-----\n\n{MIXED[:64]}\n-----E{'ND'} PGP PRIVATE KEY BLOCK-----",
        [MIXED[:8]],
    ),
    "pypi": ("py" + "pi-AgEI" + MIXED[:80], [MIXED[:8]]),
    "sendgrid": ("S" + "G." + MIXED[:22] + "." + LOWER[:43], [MIXED[:8], LOWER[:8]]),
    "shopify": ("shp" + "at_" + HEX[:32], [HEX[:8]]),
    "slack": ("xo" + "xb-123456789012-1234567890123-" + MIXED[:24], [MIXED[:8], "123456789012"]),
    "slack app": ("xa" + "pp-1-A0123-" + MIXED[:40], [MIXED[:8]]),
    "slack webhook": ("https://hooks.slack.com/services/T0123/B0123/" + MIXED[:24], [MIXED[:8]]),
    "stripe": ("sk" + "_live_" + MIXED[:24], [MIXED[:8]]),
    "stripe webhook": ("wh" + "sec_" + MIXED[:32], [MIXED[:8]]),
    "telegram": ("1234567890:A" + "A" + MIXED[:33], [MIXED[:8], "1234567890"]),
    "vault": ("hv" + "s." + MIXED[:24], [MIXED[:8]]),
    "bcrypt": ("$2" + "b$12$" + MIXED[:53], [MIXED[:8]]),
    # what names, headers and places say
    "bearer": ("Bearer " + MIXED[:30], [MIXED[:8]]),
    "basic": ("Basic dXNlcjpwYXNzd29yZA==", ["dXNlcjpw"]),
    "basic header": ("Authorization: Basic dXNlcjpwYXNzd29yZA==", ["dXNlcjpw"]),
    "digest header": (
        'Authorization: Digest username="Mufasa", realm="a b", response="6629fae4"',
        ["Mufasa", "6629fae4"],
    ),
    "header": ("X-Auth-Token: " + MIXED[:20], [MIXED[:8]]),
    "header, private": ("PRIVATE-TOKEN: " + MIXED[:20], [MIXED[:8]]),
    "cookie": ("Cookie: sid=" + MIXED[:20] + "; theme=" + LOWER[:9], [MIXED[:8], LOWER[:8]]),
    "cookie, set": ("Set-Cookie: sid=" + MIXED[:20] + "; Path=/; HttpOnly", [MIXED[:8]]),
    "variable": ("PASSWORD=hunter2", ["hunter2"]),
    "variable, quoted": ("PASSWORD='correct horse battery staple'", ["correct", "horse", "staple"]),
    "variable, postgres": ("PGPASSWORD=hunter2", ["hunter2"]),
    "variable, mysql": ("MYSQL_PWD=hunter2", ["hunter2"]),
    "variable, pass": ("DB_PASS=hunter2", ["hunter2"]),
    "ini": ("aws_secret_access_key = " + MIXED[:40], [MIXED[:8], MIXED[30:40]]),
    "login": ("postgres://app:p@ss@db.example:5432/x", ["p@ss", "ss@"]),
    "login, redis": ("redis://:hunter2@cache:6379", ["hunter2"]),
    "login, token": ("https://" + MIXED[:40] + "@example.org/1", [MIXED[:8]]),
    "curl": ("curl -u bob:hunter2", ["hunter2"]),
    "query": ("https://example.org/cb?x=1&access_token=" + MIXED[:20] + "&y=2", [MIXED[:8]]),
    "option": ("--api-key " + MIXED[:20], [MIXED[:8]]),
}


def nested(text: str, depth: int) -> str:
    """Return the text as JSON within JSON, nested so often."""
    for _ in range(depth):
        text = json.dumps({"note": text, "n": 1})
    return text


PLACES: dict[str, Callable[[str], str]] = {
    "bare": lambda text: text,
    "in a sentence": lambda text: f"He said: {text}, and then he left.",
    "in brackets": lambda text: f"({text})",
    "in a URL": lambda text: f"https://example.org/a?x=1&q={quote(text, safe='')}&y=2",
    "quoted": lambda text: f"`{text}`" if '"' in text else f'"{text}"',
    "on a line": lambda text: f"first\n{text}\nlast",
    "behind an escape": lambda text: f"first\\n{text}",
    "behind a word": lambda text: f"key_{text}",
    "behind a letter": lambda text: f"x{text}",
    "assigned": lambda text: f"A={text}",
    "in JSON": lambda text: nested(text, 1),
    "in JSON in JSON": lambda text: nested(text, 2),
    "in JSON three deep": lambda text: nested(text, 3),
}


def masked(value: Any, key: str = "note") -> tuple[Any, Counter[str]]:
    kinds: Counter[str] = Counter()
    (part,) = redact_parts([{key: value}], kinds)
    return part[key], kinds


@pytest.mark.parametrize("place", PLACES)
def test_masks_a_secret_in_every_place(place: str) -> None:
    for name, (secret, parts) in FORMATS.items():
        if name != "option" or place not in ("behind a word", "behind a letter"):  # then it is none
            check_that_it_goes(name, place, PLACES[place](secret), parts)


def check_that_it_goes(name: str, place: str, given: str, parts: list[str]) -> None:
    """Check that all of the secret is masked at once, and nothing around it."""
    got, kinds = masked(given)
    assert [part for part in parts if part in got] == [], (name, got)
    assert kinds.total() >= 1, name
    again, more = masked(got)
    assert (again, more) == (got, Counter()), name
    if place == "in a sentence":
        assert got.startswith("He said: "), name
        assert got.endswith("and then he left."), (name, got)
    if place.startswith("in JSON"):
        while not isinstance(got, int):  # it is JSON still, at each depth
            got = json.loads(got)
            assert got["n"] == 1
            got = got["note"] if got["note"].startswith('{"note') else 1


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        (
            r'{"a": "{\"password\": \"hun\\\"ter2\", \"x\": 1}"}',
            r'{"a": "{\"password\": \"***REDACTED***\", \"x\": 1}"}',
        ),
        (r"{\"password\": \"hunter2\"}", r"{\"password\": \"***REDACTED***\"}"),
        (r"\u0022password\u0022: \u0022hunter2\u0022", r"\u0022password\u0022: \u0022***REDACTED***\u0022"),
        ("%22password%22%3A%22hunter2%22", "%22password%22%3A%22***REDACTED***%22"),
        ("&quot;password&quot;:&quot;hunter2&quot;", "&quot;password&quot;:&quot;***REDACTED***&quot;"),
        ("<password>hunter2</password>", "<password>***REDACTED***</password>"),
        ("$cfg['password'] = 'x y';", "$cfg['password'] = '***REDACTED***';"),
        ("PASSWORD='basic horse battery'", "PASSWORD='***REDACTED***'"),
        ("password='it''s' x", "password='***REDACTED***' x"),
        ('a,password="b ""c"" d",e', 'a,password="***REDACTED***",e'),
        ("password='', x='y'", "password='', x='y'"),
        ("Server=h;Password=p w;User=u", "Server=h;Password=***REDACTED***;User=u"),
        ("machine h login u password p w", "machine h login u password ***REDACTED*** w"),
        ("x_password: token abc", "x_password: ***REDACTED***"),
        ("password => 'x y'", "password => '***REDACTED***'"),
        ('API_KEY="""a b"""', 'API_KEY="""***REDACTED***"""'),
        ("password: b'x y'", "password: b'***REDACTED***'"),
        ("PASSWORD=a\\ b c", "PASSWORD=***REDACTED*** c"),
        ('{"api_keys": ["abc123", "def"], "x": 1}', '{"api_keys": "***REDACTED***", "x": 1}'),
        ('{"password": 12345, "max_tokens": 5}', '{"password": "***REDACTED***", "max_tokens": 5}'),
        ('"password":"it never ends', '"password":"***REDACTED***'),
        ("db_password: correct horse battery\nx: 1", "db_password: ***REDACTED***\nx: 1"),
        ("password = correct horse battery\nx = 1", "password = ***REDACTED***\nx = 1"),
        ("password=hunter2&user=bob", "password=***REDACTED***&user=bob"),
        ("{user=bob, password=hunter2}", "{user=bob, password=***REDACTED***}"),
        ("PASSWORD=hunter2! he cried", "PASSWORD=***REDACTED***! he cried"),
        ("https%3A%2F%2Fbob%3Ahunter2%40example.org%2Fx", "https%3A%2F%2F***REDACTED***%40example.org%2Fx"),
        (r"postgres:\/\/app:hunter2@db\/x", r"postgres:\/\/***REDACTED***@db\/x"),
        (r"mail\njane@example.org", r"mail\n[email]"),
    ],
)
def test_masks_the_whole_value_and_nothing_else(text: str, becomes: str) -> None:
    assert masked(text)[0] == becomes
    assert masked(becomes) == (becomes, Counter())


PLAIN_RULE = ("password", "secret", "passwd", "token", "apikey")
SECRET_NAMES = [
    *(
        f"{before}{word}{after}"
        for word in PLAIN_RULE
        for before in ("", "db", "my_", "X-", "user.")
        for after in ("", "s", "2", "_old", "Value", "-hash")
    ),
    *("dbpassword", "userpassword", "apitoken", "bearertoken", "secretaccesskey", "secret_id", "DB_PASS", "sshpass"),
    *("api_keys", "access_tokens", "private_keys", "api-key", "API KEY", "accessKeys", "cookies", "x-amz-credential"),
    *("PGPASSWORD", "MYSQL_PWD", "clientSecrets", "AccountKey", "SharedAccessKey", "PreSharedKey", "signing_keys"),
]  # fmt: skip


@pytest.mark.parametrize("spelling", [str, str.upper, str.title])
def test_masks_text_below_a_secret_name(spelling: Callable[[str], str]) -> None:
    for key in map(spelling, SECRET_NAMES):
        assert masked("abc", key) == ("***REDACTED***", Counter(key=1)), key
        assert masked(["abc", {"x": "def"}], key)[1] == Counter(key=2), key


HARMLESS = {
    "max_tokens": 50, "maxTokens": 50, "max_new_tokens": 5, "token_count": 3, "tokenCount": "3 or so",
    "eos_token": "</s>", "bos_token": "<s>", "pad_token": "[PAD]", "special_tokens": ["<s>"],
    "type_token_ratio": 0.43, "auth_time": 1311280970, "token_logprob": -0.2, "tokens": 1500, "tokens_used": 12,
    "prompt_tokens": 7, "token_ids": [1, 2, 3], "eos_token_id": 2, "tokens_per_second": 31.5, "access_tokens": 3,
    "usage_tokens": {"in": 3, "out": 4}, "tokenizer": "bpe", "secretary": "jane", "token_type": "bearer",
    "auth_method": "oidc", "password_changed_at": "2025-11-22", "has_password": "no", "author": "jane",
    "authority": "king", "passage": "text", "compass": "north", "first_pass": "done", "pass": 12,
}  # fmt: skip


@pytest.mark.parametrize("key", HARMLESS)
def test_keeps_what_only_describes_a_secret(key: str) -> None:
    assert masked(HARMLESS[key], key) == (HARMLESS[key], Counter())
    as_text = json.dumps({key: HARMLESS[key]})
    assert masked(as_text) == (as_text, Counter())


@pytest.mark.parametrize(
    "text",
    [
        *("restart dreamd@anna.service", "getty@tty1.service", "user@1000.service", "dreamd@anna.socket"),
        *("icon@2x.avif", "photo@3x.heic", "git@github.com:o/r.git", "ssh://git@github.com/o/r.git"),
        *("host@box.example.org:/srv/x", "lodash@4.17.21-beta.rc", "image@sha256:0a1b2c", "@app.route"),
        *("task-management-system-overview-of-things", "risk-assessment-of-the-long-night-shift"),
        *("basic education", "Basic ABCDEFGH", "bearer of bad news", "sort -u a:b", "docker run -u 1000:1000 x"),
        *("http://token:8080/x", "https://example.org:8080/@leo/1", "git+ssh://host/x@v1.0", "Token::new"),
        *("if token == other", "def f(token: str = None)", "the token: and then", "a secret: love", "n_tokens = 12"),
        *("eyJhbGciOiJIUzI1NiJ9", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ", "PWD=/home/leo make", "OLDPWD=/home"),
        *("550e8400-e29b-41d4-a716-446655440000", "10.0.19045.3803", "2025-11-22T10:00:00.123Z+01:00"),
        *("BYPASS=1", "tokens = [1, 2, 3]", "token_count: 12", "?token_type=bearer", "{\\\"tokens\\\": 5}"),
    ],
)  # fmt: skip
def test_keeps_what_only_looks_like_a_secret(text: str) -> None:
    assert masked(text) == (text, Counter())


def test_masks_a_private_key_whose_end_was_cut_off() -> None:
    text = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7bq0lt and more of it"
    assert masked(text)[0] == "[private-key]"


def test_beginnings_of_a_format_over_and_over_are_read_once() -> None:
    """It takes minutes if each beginning is tried to the end of the text."""
    text, masked = JSON64 * (1 << 18), Counter[str]()
    assert redact_parts([{"note": text}], masked) == [{"note": text}]
    assert not masked
    token = f"{text[:3000]}hbGciOiJIUzI1NiJ9.{JSON64}zdWIiOiIxIn0.{MIXED[:40]}"
    [found] = redact_parts([{"note": token}], masked)
    assert MIXED[:8] not in found["note"]
