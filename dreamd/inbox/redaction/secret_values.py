"""The values of secret names in text: `PASSWORD='a b'`, `X-Auth-Token: a`, `"password": "a"`, `?token=a`. Pure.

It is linear: a run of letters is tried only from its beginning, loops are possessive (`++`), and the search continues
after each masked value.
"""

import re
from collections import Counter
from functools import lru_cache

from dreamd.inbox.redaction.secret_names import name_words, secrecy_of

REDACTED = "***REDACTED***"
PLACEHOLDERS = (REDACTED, "[key]", "[jwt]", "[private-key]")

# A quote as it is, escaped by JSON once or more, in HTML, or in a URL.
_QUOTE = r"""(?:\\*+(?:"{3}|'{3}|["'`])|&(?:quot|apos|\#3[49]);|%2[27]|\\++u002[27]|[“‘„«])"""
_CLOSED_BY = {"“": "”", "‘": "’", "„": "“", "«": "»"}
_ASSIGNS = r"(?::=|:(?!:)|=++>?|%3[AaDd]|\\++u003[aAdD]|&\#6[01];|>)"
_NAMED = re.compile(
    rf"""
    (?P<before> (?<!\\)\\++(?:[nrtbfv]|u00[0-9A-Fa-f]{{2}}) | %[0-9A-Fa-f]{{2}} | &(?:amp|lt|quot|\#\d\d);
      | [?&;\#<] | (?<![\w.-]) )
    (?: (?P<flag> --[\w-]{{3,60}}+ ) (?:[ \t]|%20)++ (?=[^\s-])
      | (?P<name> [\w.-]{{3,100}}+ ) (?P<close>{_QUOTE})?+ \]?+ (?:[ \t+]|%20)*+
        (?P<sign>{_ASSIGNS}) (?:[ \t]|%20|(?<=%3[DdAa])\+)*+ )""",
    re.VERBOSE,
)
_OPEN = re.compile(rf"(?:[bBfFrRuU]{{1,2}}(?=[\"']))?(?P<quote>{_QUOTE})")
# The characters before a name in a URL's query or in a connection string, in which `&` or `;` ends a value.
_IN_LIST = frozenset(
    {"?", "&", ";", "#", "&amp;", "%3f", "%26", "%3b", "%23", "u003f", "u0026", "u003b", "u0023"}
)
_BEFORE_LINE = re.compile(r"""(?:\A|[\n\r"'`]|\\[nr])[ \t]*(?:set)?(?:export)?[ \t>+*-]*\Z""")
_SCHEME = re.compile(
    r"(?i:aws4-hmac-sha256|api-?key|basic|bearer|bot|digest|dpop|hawk|hmac|key|mac|negotiate|ntlm|oauth|signature|"
    r"sso-key|token)(?:[ \t]++|%20|\+)"
)
_PARAMETER = r"""[\w-]{1,40}=(?:\\*+"[^"\\\r\n]*+\\*+"|[^\s,"'\\]++)"""
_PARAMETERS = re.compile(rf"{_PARAMETER}(?:,(?:[ \t]|%20)*+{_PARAMETER})*+")
_COOKIE = r"""[^\s=;,:"'\\]{1,64}+=(?:\\*+"[^"\\\r\n]*+\\*+"|\w{3},[ ][\w :-]{1,40}|[^\s"'\\;,]*+)"""
_COOKIES = re.compile(rf"{_COOKIE}(?:;[ ]?{_COOKIE}|;[ ]?(?i:httponly|partitioned|secure)\b)*+")
# The extent of a value without quotes, by its context.
_OF_LIST = re.compile(r"""(?:(?!%2[0236Cc]|%3[Bb]|%0[aAdD])[^\s&;#"'`<>\\])++""")
_OF_CLAUSE = re.compile(r"""[^;&"'`<>\\\r\n]{1,200}+(?=;)""")  # of a connection string
_OF_LINE = re.compile(r"""(?:\\++(?!["'`nr\s])|[^\\\r\n"'`])++""")
_OF_PARAMETER = re.compile(r"""[^\s&"'<>\\]++""")
_OF_ELEMENT = re.compile(r"[^<]++")
_OF_JSON = re.compile(r"""[^\s,\]}"'\\]++""")
# A block of lines in YAML, up to the first one that is indented less.
_BLOCK = re.compile(r"[|>][-+\d]{0,2}[ \t]*+\n(?P<indent>[ \t]++)[^\n]*+(?:\n(?P=indent)[^\n]*+|\n(?=\n))*+")
_WORD = re.compile(r"""(?:\\++(?:[ ]|(?!["'`nrtu\s]))|(?![&;][\w.-]{1,40}=|<[/A-Za-z!])[^\s"'`\\])++""")
_CLOSING = {mark: re.compile(rf"(?<!\\)(\\*+){mark}") for mark in ('"', "`", '"""', "'''")} | {
    "'": re.compile(r"'\\''|(?<!\\)(\\*+)'(?!\w)")  # a single quote may also be an apostrophe
}
_BRACKETS = re.compile(r"[\[\]{}]")
_END_OF_LINE = re.compile(r"[\r\n]")
_BEHIND = ".,:;!?)]}"  # at the end of a value these belong to the sentence

# A quote that is not closed within this length does not count: the value ends with the line.
_MOST_QUOTED = 1 << 13
_NOTHING = frozenset({"", "false", "nil", "none", "null", "true", "undefined"})
_TYPES = frozenset({"any", "bool", "bytes", "int", "optional", "required", "str", "string"})
_NUMBER = re.compile(r'[-+]?\d{1,7}(?:\.\d+)?%?|[\[{](?:[\s\d.,+-]|\\*+"[\w-]*+\\*+"\s*+:)*+[\]}]')
_RANDOM = re.compile(r"\d|[a-z][A-Z]|_|[^\w\s'\u2019.,;:!?()\[\]\u2026-]")
# Start and end of a value, the kind that it is counted as, and its replacement.
Span = tuple[int, int, str, str]


def mask_named(text: str, masked: Counter[str]) -> str:
    """Return the text with the values of secret names masked. `masked` counts them by kind."""
    parts: list[str] = []
    done = 0
    for match in _NAMED.finditer(text):
        what, name_parts = _about_name(match["flag"] or match["name"])
        if not what or match.end() <= done:
            continue
        before = match["before"]
        in_list = bool(before) and before.lstrip("\\").lower() in _IN_LIST
        span = None if what == "signature" and not in_list else _value_span(text, match, name_parts, in_list)
        if span is None:
            continue
        start, end, kind, put = span
        value = text[start:end]
        if value.lower() in _NOTHING or (what == "count" and is_count(value)):
            continue
        masked[kind] += 1
        parts += [text[done:start], put]
        done = end
    return "".join([*parts, text[done:]])


@lru_cache(maxsize=1024)  # names in text have 100 letters at most
def _about_name(name: str) -> tuple[str, tuple[str, ...]]:
    """Return whether the value of a name is secret, and the words of the name. A signature is secret only in a URL."""
    parts = tuple(name_words(name))
    signs = "signature" if parts and parts[-1] in ("sig", "signature") else ""
    return secrecy_of(name) or signs, parts


def is_count(value: object) -> bool:
    """Return whether a value is a number, or a text that is one."""
    return not isinstance(value, str) or bool(_NUMBER.fullmatch(value))


def looks_random(value: str) -> bool:
    """Return whether a text may be a credential, in a place that may also hold prose ("the bearer presented")."""
    if value.isdecimal():
        return len(value) >= 6
    return len(value) >= 24 or bool(_RANDOM.search(value))


def _value_span(text: str, match: re.Match[str], parts: tuple[str, ...], in_list: bool) -> Span | None:
    """Return the value that belongs to a name, None if there is none or it must not be masked."""
    at, sign, close = match.end(), match["sign"], match["close"]
    if quoted := _OPEN.match(text, at):
        return _quoted_span(text, quoted, "quoted" if close else "environment", parts)
    if text.startswith(PLACEHOLDERS, at):
        return None
    if sign == ":" and (block := _BLOCK.match(text, at)):
        return block.start("indent"), block.end(), "environment", block["indent"] + REDACTED
    if text.startswith(("[", "{"), at) and (close or sign != ":"):
        return at, _closing_bracket(text, at), "quoted", REDACTED.join([close or '"'] * 2)
    if close and sign == ":":
        return at, _value_end(_OF_JSON, text, at), "quoted", f"{close}{REDACTED}{close}"
    if "%" in match[0] and "cookie" not in parts and "authorization" not in parts:
        return at, _value_end(_OF_LIST, text, at), "query", REDACTED
    if in_list:
        clause = _OF_CLAUSE.match(text, at) if match["before"] == ";" else None
        return at, clause.end() if clause else _value_end(_OF_LIST, text, at), "query", REDACTED
    return _unquoted_span(text, match, parts)


def _quoted_span(text: str, opening: re.Match[str], kind: str, parts: tuple[str, ...]) -> Span | None:
    at = opening.end()
    if _is_authorization(parts) and (scheme := _SCHEME.match(text, at)):
        at, kind = scheme.end(), "header"
    if text.startswith(PLACEHOLDERS, at):
        return None
    return at, _closing_quote(text, at, opening["quote"]), kind, REDACTED


def _unquoted_span(text: str, match: re.Match[str], parts: tuple[str, ...]) -> Span | None:
    name, sign, at = match["flag"] or match["name"], match["sign"], match.end()
    if "%" in match[0]:  # a header in a URL
        return at, _value_end(_OF_PARAMETER, text, at), "query", REDACTED
    if sign == ">":
        return (
            (at, _value_end(_OF_ELEMENT, text, at), "environment", REDACTED)
            if match["before"] == "<"
            else None
        )
    if text.startswith("//", at) or (name in ("PWD", "OLDPWD") and text.startswith("/", at)):
        return None
    if sign in ("==", "===") or (sign == ":" and text.endswith("//", 0, match.start("name"))):
        return None  # a comparison, or a host
    if "cookie" in parts and (pairs := _COOKIES.match(text, at)):
        return at, pairs.end(), "cookie", REDACTED
    if _is_authorization(parts) and (scheme := _SCHEME.match(text, at)):
        return _credentials_span(text, scheme.end())
    end = _value_end(_WORD, text, at)
    value = text[at:end]
    if sign == ":" and (value.lower() in _TYPES or (len(parts) == 1 and not looks_random(value))):
        return None  # a declaration, or prose
    if sign == "=" and len(value) < 2 and not name.isupper():
        return None
    if (len(parts) > 1 or sign != ":") and _is_line(text, match):
        end = _value_end(_OF_LINE, text, at)
    return at, end, "environment", REDACTED


def _is_authorization(parts: tuple[str, ...]) -> bool:
    return "authorization" in parts or "auth" in parts


def _credentials_span(text: str, at: int) -> Span | None:
    """Return the credentials after the scheme of an Authorization header, None if they are a word."""
    if text.startswith(PLACEHOLDERS, at):
        return None
    listed = _PARAMETERS.match(text, at)
    end = listed.end() if listed else _value_end(_WORD, text, at)
    return (at, end, "header", REDACTED) if looks_random(text[at:end]) else None


def _is_line(text: str, match: re.Match[str]) -> bool:
    """Return whether the value is the rest of the line, as in YAML and in .ini files."""
    if match["name"] is None or not (match["sign"] == ":" or text[match.end() - 1].isspace()):
        return False
    start = match.start("name")
    return bool(_BEFORE_LINE.search(text[max(0, start - 24) : start]))


def _value_end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Return the end of the value that begins at `at`, without the marks that close the sentence."""
    match = pattern.match(text, start)
    return start + len(match[0].rstrip().rstrip(_BEHIND)) if match else start


def _closing_quote(text: str, start: int, quote: str) -> int:
    """Return the end of the value that `quote` opened.

    JSON in a string has a backslash before each quote and each backslash. So a quote after n backslashes is closed by
    one after n. A quote after more of them is part of the value, unless they are whole pairs of backslashes.
    """
    mark = quote.lstrip("\\")
    depth, limit = len(quote) - len(mark), start + _MOST_QUOTED
    if mark not in _CLOSING:
        found = text.find(_CLOSED_BY.get(quote, quote), start, limit)
        return found if found >= 0 else _end_of_line(text, start)
    doubled = -1  # the second of two quotes, by which SQL and spreadsheets write one
    for match in _CLOSING[mark].finditer(text, start, limit):
        if match[1] is None:  # '\'' in a shell
            continue
        more = len(match[1]) - depth
        if match.start() == doubled:
            continue
        if depth == more == 0 and match.start() > start and text.startswith(mark, match.end()):
            doubled = match.end()
        elif more < 0 or more % (2 * depth + 2) == 0:
            return match.start() + max(more, 0)
    return _end_of_line(text, start)


def _closing_bracket(text: str, start: int) -> int:
    depth = 0
    for match in _BRACKETS.finditer(text, start, start + _MOST_QUOTED):
        depth += 1 if match[0] in "[{" else -1
        if depth == 0:
            return match.end()
    return _end_of_line(text, start)


def _end_of_line(text: str, start: int) -> int:
    match = _END_OF_LINE.search(text, start)
    return match.start() if match else len(text)
