"""The names of keys and variables whose values are secret. Pure.

A name is secret if it contains password, secret, passwd, token or apikey in any spelling, or has a word such as
`auth`, `cookie` or `pwd`. Names that only describe a secret are excepted: `token_count`, `max_tokens`, `auth_method`,
`eos_token`.
"""

import re
from itertools import pairwise
from typing import Literal

Secrecy = Literal["", "secret", "count"]  # count: texts are secret, numbers are counts

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LETTERS = re.compile(r"[^a-z0-9]+")

# Secret anywhere in a name, but not in secretary, tokenizer, passwordless.
_CONTAINED = re.compile(
    r"pass(?:word(?!less)|wd|phrase)|secret(?!ar|ion|ive|ly)|token(?!i[sz])|apikey|privatekey|credential|"
    r"(?:admin|db|ftp|imap|ldap|login|mail|my|proxy|root|smtp|sql|ssh|user)pass$"
)
_NOT_COUNTED = re.compile(r"token$|pass(?:word|wd|phrase)|secret|apikey|privatekey|credential")
_KEYS = frozenset(
    {"access", "account", "app", "auth", "consumer", "deploy", "encryption", "hmac", "master", "preshared"}
    | {"shared", "sharedaccess", "signing", "ssh", "storage", "subscription", "webhook"}
)
# Secret only as whole words, in the singular.
_SECRET = frozenset(
    {"auth", "authorization", "bearer", "cookie", "cvc", "cvv", "jsessionid", "jwt", "mnemonic", "oauth"}
    | {"otp", "passcode", "phpsessid", "psk", "pwd", "setcookie"}
    | {f"{kind}key" for kind in _KEYS}
)
_SECRET_PAIRS = frozenset(
    {("pass", "code"), ("seed", "phrase"), ("recovery", "phrase"), ("recovery", "code")}
    | {(kind, "key") for kind in _KEYS}
)
# A name that ends in one of these describes a secret.
_ABOUT = frozenset(
    {"at", "attempts", "budget", "changed", "consent", "count", "counts", "created", "domain", "enabled"}
    | {"endpoint", "error", "errors", "expiration", "expires", "expiry", "failed", "failures", "index"}
    | {"kind", "length", "level", "limit", "method", "mode", "ms", "name", "names", "policy", "position"}
    | {"present", "provider", "required", "rotated", "scheme", "sec", "seconds", "size", "status"}
    | {"strength", "time", "timestamp", "ts", "ttl", "type", "types", "updated", "uri", "url", "usage"}
    | {"used", "valid", "version"}
)
_ABOUT_WORD = _ABOUT | {"id", "ids"}  # auth_id is no secret, secret_id is a secret of Vault's
_ABOUT_FIRST = frozenset({"has", "is", "max", "min", "n", "no", "num", "requires", "total"})
# Tokens of language models are words, not secrets.
_WORD_TOKENS = re.compile(
    r"(?:(?:additional)?special|bos|cls|eos|image|mask|pad|sep|stop|unk)tokens?|typetokenratio"
)
_PASSES = frozenset({"back", "backward", "boarding", "final", "first", "forward", "last", "next", "second"})


def name_words(key: str) -> list[str]:
    """Return the words of a name in camelCase, kebab-case or snake_case, in lower case."""
    return [word.lower() for word in _WORDS.findall(key)]


def secrecy_of(key: str) -> Secrecy:
    """Return whether the values of a name are secret."""
    parts = name_words(key)
    if not parts or parts[0] in _ABOUT_FIRST:
        return ""
    whole = _LETTERS.sub("", key.lower())
    if _CONTAINED.search(whole):
        if parts[-1] in _ABOUT or _WORD_TOKENS.fullmatch(whole):
            return ""
        return "secret" if _NOT_COUNTED.search(whole) else "count"
    if parts[-1] == "pass":
        return "count" if parts[0] not in _PASSES else ""
    if parts[-1] in _ABOUT_WORD:
        return ""
    singular = [part if part.endswith("ss") else part.removesuffix("s") for part in parts]
    found = not _SECRET.isdisjoint(singular) or not _SECRET_PAIRS.isdisjoint(pairwise(singular))
    return "secret" if found else ""
