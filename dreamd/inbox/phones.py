"""Phone numbers in text: international ones, and national ones that are grouped as people write them. Pure.

A candidate is a run of digits and separators. The rules here know the plain cases. Where the library
`phonenumbers` is installed (the extra `dreamd[phones]`), it is asked whether an international candidate has a
possible length for its country, and whether a national one that the rules do not know is valid somewhere.
"""

import re
from collections import Counter
from functools import cache
from typing import Any

# The least phone numbers have 7 digits, the longest 15 (ITU-T E.164). A run is taken whole, whatever follows it:
# what fails behind a long run would be tried again from each of its digits.
_CANDIDATE = re.compile(
    r"(?<![\w+.$€£¥#])(?<!\w-)(?<!\d[,:/])([+(]?\d(?:[ \u00a0.()/\u2010\u2011-]{0,2}+\d){6,}+\)?)"
    r"(?:[ ]?(?:x|ext\.?)[ ]?\d{1,5})?+"
)
_DIGITS = re.compile(r"\d+")
_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?(?!\d)|(?<!\d)\d\d?[-/.]\d\d?[-/.]\d{4}")
_QUAD = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_NOT_BEHIND = re.compile(r"\w|[-,.:/]\d|-\w|%")
_MOST_CHARS = 34  # 17 digits, with 00 in front, and their separators

# Asking the library takes as long as reading a thousand characters: this often a shard, then the rules decide.
_MOST_ASKED = 16
# Where people who write numbers without a leading 0 or brackets live; a few, as each costs a question.
_REGIONS = ("ES", "PL", "BR", "RU", "IT", "NO", "DK", "IN", "CN", "MX")


class Phones:
    """Masks phone numbers in the texts of one shard, node or seed."""

    def __init__(self) -> None:
        self._asked = 0

    def mask(self, text: str, masked: Counter[str], *, whole: bool = False) -> str:
        """The text with phone numbers masked; `whole`: it stood under a key that says it is one."""

        def replace(match: re.Match[str]) -> str:
            found = match[1]
            if len(found) > _MOST_CHARS or _NOT_BEHIND.match(text, match.end()):
                return match[0]
            if not (whole or self._is_phone(found)):
                return match[0]
            masked["phone"] += 1
            return "[phone])" if found[-1] == ")" and "(" not in found else "[phone]"

        return _CANDIDATE.sub(replace, text)

    def _is_phone(self, number: str) -> bool:
        groups = _DIGITS.findall(number)
        sizes = [len(group) for group in groups]
        if number[0] == "+":
            return groups[0][0] != "0" and 8 <= sum(sizes) <= 15 and self._ask(number, None)
        if len(sizes) > 1 and _is_national(number, groups, sizes):
            return not _is_other(number)
        if self._asked >= _MOST_ASKED or not _may_be_national(number, sizes) or _is_other(number):
            return False
        return any(self._ask(number, region) for region in _REGIONS)

    def _ask(self, number: str, region: str | None) -> bool:
        """What the library says; without it, or when it was asked too often, what the rules would."""
        library = _library()
        if library is None or self._asked >= _MOST_ASKED:
            return region is None
        self._asked += 1
        try:
            parsed = library.parse(number, region)
        except library.NumberParseException:
            return False
        if region is not None:
            return bool(library.is_valid_number(parsed))
        # Stricter than is_possible_number, which takes a local number behind a country's code.
        return bool(library.is_possible_number_with_reason(parsed) == library.ValidationResult.IS_POSSIBLE)


def _is_national(number: str, groups: list[str], sizes: list[int]) -> bool:
    """The forms that need no library, such as 415-555-2671, (415) 555-2671, 020 7946 0958, 0049 30 123456."""
    digits = sum(sizes)
    if number[0] == "(":
        return sizes[0] in range(2, 6) and ")" in number and 8 <= digits <= 12
    if number[0] == "0":
        if number[1] == "0":
            return number[2] != "0" and 10 <= digits <= 17
        return min(sizes) >= 2 and 9 <= digits <= 12
    if sizes == [3, 3, 4] or (sizes == [1, 3, 3, 4] and groups[0] == "1"):
        return "-" in number or "." in number or "(" in number or groups[-3][0] in "23456789"
    return sizes == [1, 3, 3, 2, 2] and groups[0] == "8"


def _may_be_national(number: str, sizes: list[int]) -> bool:
    """Worth a question: groups of unlike sizes, not 1 234 567, not 123-45-6789, no list of small numbers."""
    thousands = sizes[0] <= 3 and set(sizes[1:]) == {3}
    return (
        9 <= sum(sizes) <= 12
        and len(sizes) >= 3
        and min(sizes) >= 2
        and len(set(sizes)) > 1
        and "." not in number
        and not thousands
        and sizes != [3, 2, 4]
    )


def _is_other(number: str) -> bool:
    """Whether it is, or holds, a date, or is an IP address."""
    return bool(_DATE.search(number) or _QUAD.fullmatch(number))


@cache
def _library() -> Any:
    """The library, imported when the first candidate asks for it; None where it is not installed."""
    try:
        import phonenumbers
    except ImportError:
        return None
    return phonenumbers
