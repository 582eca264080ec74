"""Secrets and e-mail addresses by their shape in text. Pure, and linear in the text's length.

How it stays linear: loops are possessive (`++`), so nothing is tried twice from one start; a start is only where
a run of word characters begins; and what a start can run over before it fails is bounded, or ends at a character
that a later start lies behind.
"""

import re
from collections import Counter

REDACTED = "***REDACTED***"

# Grouped by beginnings, as it is tried often.
_NAME = (
    r"(?=[acjprst])(?:a(?:ccess[-_]?(?:key|token)|pi[-_]?key|uth(?:[-_]?token)?)|c(?:lient[-_]?secret|redential)|jwt|"
    r"p(?:ass(?:phrase|wd|word)|rivate[-_]?key|wd)|refresh[-_]?token|"
    r"s(?:ec(?:ret(?:[-_]?key)?|urity[-_]?token)|ession[-_]?token|ig(?:nature)?)|token)"
)

# Each alternative that is named here masks by that name's rule, below. The formats are those that their makers
# publish, in their documentation of tokens or of secret scanning.
_SECRETS = re.compile(
    rf"""(?<![\w-])(?=\w|["']\w|(?<=//):)(?:
      (?P<key>
        sk-[\w-]{{20,}}+                                      # OpenAI, Anthropic and others after them
      | gh[pousr]_[A-Za-z0-9]{{30,}}+ | github_pat_\w{{22,}}+ # GitHub
      | gl(?:pat|ptt|dt|rt|cbt)-[\w-]{{20,}}+                 # GitLab
      | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}(?!\w)           # Amazon
      | xox[abeoprs]-[\w-]{{10,}}+ | xapp-[\w-]{{10,}}+       # Slack
      | AIza[\w-]{{35}} | ya29\.[\w-]{{20,}}+ | GOCSPX-[\w-]{{20,}}+  # Google
      | [sr]k_(?:live|test)_\w{{16,}}+ | whsec_[\w+/=]{{16,}}+        # Stripe
      | npm_[A-Za-z0-9]{{36}} | pypi-[\w-]{{50,}}+ | hf_[A-Za-z0-9]{{30,}}+
      | SG\.[\w-]{{16,64}}+\.[\w-]{{16,}}+                    # SendGrid
      | do[opr]_v1_[a-f0-9]{{64}} | shp(?:at|ca|pa|ss)_[a-fA-F0-9]{{32}}
      | hv[bs]\.[\w-]{{24,}}+ | dapi[a-f0-9]{{32}} | lin_api_\w{{32,}}+
      | AGE-SECRET-KEY-1[A-Z0-9]{{50,}}+
      | \d{{8,10}}:AA[\w-]{{32,}}+                            # Telegram
      )
    | (?P<jwt> eyJ[\w-]{{8,}}+\.[\w-]{{8,}}+\.[\w-]{{8,}}+ )
    | (?P<bearer> (?i:bearer)[ \t]++(?P<bearer_value>[\w.~+/=-]{{8,}}+) )
    | (?P<header>
        (?i:(?:proxy-)?authorization)["']?+[ \t]*+[:=][ \t]*+["']?+
        (?i:basic|bearer|token|digest|negotiate|apikey)[ \t]++(?P<header_value>[^\s"',;]++) )
    | (?P<cookie> (?i:(?:set-)?cookie):[ \t]*+(?P<cookie_value>[^\s=;,:]{{1,64}}+=[^\r\n"]++) )
    | (?<=[?&;\#]) (?P<query> (?i:(?:[A-Za-z0-9]++[-_.])*?{_NAME})=(?P<query_value>[^&\s\#"'<>;]++) )
    | (?<=://) (?P<login> (?P<login_value>[^\s/@:"'<>]*+:[^\s/@"'<>]++)@ )
    | (?P<quoted>
        ["'](?i:(?:[A-Za-z0-9]++[-_.])*?{_NAME})["'][ \t]*+:[ \t]*+
        (?P<quoted_value>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+') )
    | (?P<environment>
        (?:[A-Z0-9]++_)*?(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_KEY|SECRET_KEY|PRIVATE_KEY)
        =(?P<environment_value>[^\s;&]++) )
    )""",
    re.VERBOSE,
)
_WHOLE = {"key": "[key]", "jwt": "[jwt]"}
_ONLY_IF_RANDOM = ("bearer", "header")

_PEM_BEGIN = "-----BEGIN "
_PEM_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++(?:@|%40)(?P<host>[\w-]++(?:\.[\w-]++)++)")
# What follows an @ in icon@2x.png; none of these is a top-level domain.
_FILES = frozenset({"css", "gif", "jpeg", "jpg", "js", "json", "pdf", "png", "svg", "txt", "webp"})


def mask_secrets(text: str, masked: Counter[str]) -> str:
    """The text with keys, tokens, headers, logins and private keys masked; `masked` counts by kind."""
    text = _mask_private_keys(text, masked)

    def mask(match: re.Match[str]) -> str:
        kind, number = match.lastgroup or "", match.lastindex or 0
        if kind in _WHOLE:
            masked[kind] += 1
            return _WHOLE[kind]
        value = match[number + 1]  # its one inner group
        bare = value[1:-1] if kind == "quoted" else value
        if not bare or bare == REDACTED or (kind in _ONLY_IF_RANDOM and not _looks_random(value)):
            return match[0]
        masked[kind] += 1
        start, end = match.span(number + 1)
        return text[match.start() : start] + value.replace(bare, REDACTED) + text[end : match.end()]

    return _SECRETS.sub(mask, text)


def _looks_random(value: str) -> bool:
    """Whether this may be a credential, where prose could stand as well ("the bearer presented")."""
    return len(value) >= 24 or not value.strip(".").isalpha() or not (value.islower() or value.istitle())


def _mask_private_keys(text: str, masked: Counter[str]) -> str:
    """PEM and PGP private keys; one without an end reaches to the end of the text."""
    parts: list[str] = []
    done = 0
    begin = text.find(_PEM_BEGIN)
    while begin >= 0:
        if not (header := _PEM_PRIVATE.match(text, begin)):
            begin = text.find(_PEM_BEGIN, begin + 1)
            continue
        end = _PEM_END.search(text, header.end())
        masked["private_key"] += 1
        parts += [text[done:begin], "[private-key]"]
        done = end.end() if end else len(text)
        begin = text.find(_PEM_BEGIN, done)
    return "".join([*parts, text[done:]])


def mask_email(text: str, masked: Counter[str]) -> str:
    """The text with e-mail addresses masked."""

    def mask(match: re.Match[str]) -> str:
        last = match["host"].rpartition(".")[2]
        if len(last) < 2 or not last.isalpha() or last.lower() in _FILES:
            return match[0]
        masked["email"] += 1
        return "[email]"

    return _EMAIL.sub(mask, text)
