r"""Secrets and e-mail addresses by their shape in text. Pure, and linear in the text's length.

It is linear for two reasons. Loops are possessive (`++`), so no part is tried twice from one start. And the length that
a start can match before it fails is bounded, or ends at a character before the next possible start.
"""

import re
from base64 import b64decode
from binascii import Error
from collections import Counter
from collections.abc import Callable
from itertools import groupby

from dreamd.inbox.redaction.secret_values import REDACTED, looks_random

# The beginning of a word, also after an escape of JSON or of a URL.
_BEGINS = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbfv])|(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"

# Formats of tokens as their issuers document them. They are tried after any character, so that a word in front hides
# none.
_ANYWHERE = r"""
    AGE-SECRET-KEY-1[A-Z0-9]{50,}+   (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])
    ABSK[A-Za-z0-9+/]{60,}+={0,2}   bedrock-api-key-[\w+/=-]{20,}+   AIza[\w-]{35}   ya29\.[\w-]{20,}+
    GOCSPX-[\w-]{20,}+   AQ\.Ab[\w-]{30,}+
    gh[pousr]_(?:\d{1,20}_eyJ[\w-]*+(?:\.[\w-]++)*+|[A-Za-z0-9]{30,}+)   github_pat_\w{22,}+
    gl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|rtr|soat|wt)-[\w.-]{18,}[\w-]   xox[a-z]-(?:\d-)?[\w-]{10,}+
    xoxe\.xox[a-z]-[\w-]{10,}+   xapp-[\w-]{10,}+
    hooks\.slack\.com(?:/|%2F)(?:services|triggers|workflows)(?:[\w/-]|%2F){20,}+
    discord(?:app)?\.com(?:/|%2F)api(?:[\w/]|%2F){1,20}webhooks(?:/|%2F)\d{10,20}(?:/|%2F)[\w-]{20,}+
    webhook\.office\.com(?:/|%2F)webhookb2(?:[\w@/-]|%2F|%40){40,}+
    sk-(?:admin|ant|lf|or|proj|svcacct)-[\w-]{20,}+
    sk-(?=[a-z0-9]{0,40}+[A-Z])(?=[A-Za-z]{0,40}+\d)[A-Za-z0-9]{32,}+   SG\.[\w-]{22}\.[\w-]{43}
    [MNO](?=[A-Za-z_-]{0,27}+\d)[\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}   [rs]k_(?:live|test)_\w{16,}+
    whsec_[\w+/=]{16,}+   npm_[A-Za-z0-9]{36}   pypi-[\w-]{50,}+   hf_[A-Za-z0-9]{30,}+
    rubygems_[a-f0-9]{48}   dckr_[op]at_[\w-]{20,}+   do[opr]_v1_[a-f0-9]{64}
    shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}   dapi[a-f0-9]{32}   lin_(?:api|oauth)_\w{32,}+   hv[bsr]\.[\w-]{24,}+
    atlasv1\.[\w-]{40,}+   ATATT3[\w=-]{40,}+   ATBB[A-Za-z0-9]{28,}+   glsa_[A-Za-z0-9]{30,}_[a-f0-9]{8}
    glc_[\w+/=]{30,}+   NRAK-[A-Z0-9]{20,}+   PMAK-[a-f0-9]{20,}-[a-f0-9]{30,}+   sntry[su]_[\w+/=-]{40,}+
    sbp_[a-f0-9]{40}   sb_secret_[\w-]{20,}+   pscale_(?:oauth|pw|tkn)_[\w.-]{30,}[\w-]
    ntn_[A-Za-z0-9]{40,}+   figd_[\w-]{30,}+   tskey-[a-z]{3,10}-[\w-]{15,}+   sq0(?:atp|csp|idp)-[\w-]{22,}+
    gsk_[A-Za-z0-9]{40,}+   xai-[A-Za-z0-9]{60,}+   pplx-[A-Za-z0-9]{40,}+   nvapi-[\w-]{50,}+
    r8_[A-Za-z0-9]{36,}+   lsv2_[ps][tk]_[a-f0-9_]{32,}+   pcsk_\w{40,}+   tvly-[\w-]{20,}+
    fm2_[\w+/=]{60,}+   xkeysib-[a-f0-9-]{60,}+   \w{3}8Q~[\w.~-]{31,34}   key-[a-f0-9]{32}(?!\w)
    b3BlbnNzaC1rZXktdjE[\w+/=]{20,}+   xprv[1-9A-HJ-NP-Za-km-z]{100,}+   nsec1[ac-hj-np-z02-9]{58}
    (?:\$|%24)(?:2[abxy]|[156y]|apr1|argon2(?:id|i|d))(?:\$|%24)[\w./$=,+%-]{20,}+
"""
# These look like words, so they are tried only at the beginning of a word.
_AT_BEGINNING = r"""
    sk-(?=[a-z-]{0,40}+[A-Z0-9_])[\w-]{20,}+   SG\.[\w-]{16,64}+\.[\w-]{16,}+   SK[a-f0-9]{32}(?!\w)
    dp\.(?:audit|ct|pt|sa|scim|st)\.[\w.-]{30,}[\w-]   pat[A-Za-z0-9]{14}\.[a-f0-9]{60,}+
    [a-f0-9]{32}-us\d\d?(?!\w)   1//0[\w-]{30,}+
"""


def _one_of(patterns: str) -> str:
    """Return an alternation that groups patterns by their beginning, so that most places in a text fail at once."""
    rows = sorted(patterns.split())
    heads = groupby(rows, lambda row: row[0] if row[0].isalnum() and row[1] not in "?*+{" else "")
    return "|".join(f"{head}(?:{'|'.join(row[len(head) :] for row in same)})" for head, same in heads)


_FORMATS = re.compile(
    rf"(?P<key>{_one_of(_ANYWHERE)}|{_BEGINS}(?:{_one_of(_AT_BEGINNING)})"
    r"|(?<!\d)\d{8,10}(?::|%3[aA])AA[\w-]{30,}+)"  # Telegram
    r"|(?P<jwt>eyJ(?:(?!eyJ)[\w-]){8,}+\.(?:eyJ[\w-]*+|[\w-]{8,}+\.|\.[\w-]{8,}+)(?:\.?[\w-]++){0,3}+)"
    r"|(?P<bearer>(?i:bearer)(?:[ \t]++|%20|\+)(?P<bearer_value>[\w.~+/=-]{8,}+))"
    r"|(?P<basic>(?i:basic)(?:[ \t]++|%20|\+)(?P<basic_value>[A-Za-z0-9+/]{8,}+={0,2}))"
    r"|(?P<login>:\\*+/\\*+/(?P<login_value>[^\s/\"'<>`\\]*)@)"
    r"|(?P<encoded>(?i:%3a%2f%2f)(?P<encoded_value>(?:(?!%2[fF])[^\s/&\"'<>`\\])*)%40)"
    r"|(?P<netrc>machine\s++\S{1,99}+\s++login\s++\S{1,99}+\s++password\s++(?P<netrc_value>\S++))"
    rf"|(?P<user>{_BEGINS}(?<!-)(?:-u|--user)(?:[ \t]++|=|%20|\+)\\*+[\"']?(?!\d++:\d)[\w.@-]{{1,64}}(?::|%3[aA])"
    r"(?P<user_value>[^\s\"'\\&]{3,}+))"
)
_COUNTED_AS = {"encoded": "login", "user": "login", "netrc": "login", "basic": "header"}
_WHOLE = {"key": "[key]", "jwt": "[jwt]"}

# PEM and PGP. A block without an end extends to the end of the text.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN[A-Z0-9 +%]{0,60}PRIVATE(?:[ +]|%20)KEY(?:(?:[ +]|%20)BLOCK)?-----"
    r"(?:[^-]++|-(?!----END[A-Z0-9 +%]{0,60}-----))*+(?:-----END[A-Z0-9 +%]{0,60}-----)?"
)

_EMAIL = re.compile(
    r"(?<![\w.+-])(?P<local>[\w.+-]++)(?:@|%40)(?P<host>[\w-]++(?:\.[\w-]++)++)(?!:(?:[\w.~-]{0,64}/|[\w.-]{1,64}\.git\b))"
)
_VERSION = re.compile(r"\d+(?:\.\d|x\.)")
# Endings after an @ as in icon@2x.png and unit@name.service. None of them is a top-level domain.
_FILES = frozenset(
    {"automount", "avif", "bmp", "conf", "css", "device", "gif", "heic", "ico", "jpeg", "jpg", "js"}
    | {"json", "log", "mount", "path", "pdf", "png", "scope", "service", "slice", "socket", "svg", "swap"}
    | {"target", "tiff", "timer", "toml", "ttf", "txt", "webm", "webp", "woff", "xml", "yaml", "yml"}
)


def mask_formats(text: str, masked: Counter[str]) -> str:
    """Return the text with keys, tokens, logins and private keys masked. `masked` counts them by kind."""
    text, found = _PRIVATE_KEY.subn("[private-key]", text)
    if found:
        masked["private_key"] += found

    def mask(match: re.Match[str]) -> str:
        kind, number = match.lastgroup or "", match.lastindex or 0
        if kind in _WHOLE:
            masked[kind] += 1
            return _WHOLE[kind]
        value = match[number + 1]  # the inner group
        if value.startswith(REDACTED) or not _IS_SECRET[kind](value):
            return match[0]
        masked[_COUNTED_AS.get(kind, kind)] += 1
        start, end = match.span(number + 1)
        return text[match.start() : start] + REDACTED + text[end : match.end()]

    return _FORMATS.sub(mask, text)


def _is_login(value: str) -> bool:
    """Return whether a text before the @ of a host is user and password, or a token."""
    user, _, password = re.sub("%3[aA]", ":", value).partition(":")
    return bool(password) or (len(user) >= 16 and looks_random(user))


def _is_basic(value: str) -> bool:
    """Return whether a text is "user:password" in base64, and not just a word after "basic"."""
    letters = value.rstrip("=")
    try:
        said = b64decode(letters + "=" * (-len(letters) % 4)).decode()
        return ":" in said and said.isprintable()
    except (Error, UnicodeDecodeError):
        return False


_IS_SECRET: dict[str, Callable[[str], bool]] = {
    "bearer": looks_random,
    "basic": _is_basic,
    "login": _is_login,
    "encoded": _is_login,
    "user": bool,
    "netrc": bool,
}


def mask_email(text: str, masked: Counter[str]) -> str:
    """Return the text with e-mail addresses masked, but not `git@host`, `name@1.2.3` or `user@host:path`."""

    def mask(match: re.Match[str]) -> str:
        local, host, start = match["local"], match["host"], match.start()
        last = host.rpartition(".")[2].lower()
        if len(last) < 2 or not last.isalpha() or last in _FILES or local == "git" or _VERSION.match(host):
            return match[0]
        if text[start - 3 : start] == "://":
            return match[0]
        masked["email"] += 1
        is_escape = text[start - 1 : start] == "\\" and local[0] in "nrtbf"
        return local[:1] * is_escape + "[email]"

    return _EMAIL.sub(mask, text)
