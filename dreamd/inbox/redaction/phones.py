"""Phone numbers in text: international ones with a `+`, and national ones of the regions that are set.

National numbers need the library `phonenumbers`, the extra `dreamd[phones]`. Patterns for them would match dates,
versions and lists of numbers, and miss most countries.
"""

import re
from collections import Counter
from functools import partial

# E.164: 8 to 15 digits with the country's code. A run of digits is matched whole whatever follows it: otherwise a
# failure after a long run would be tried again from each of its digits.
_BETWEEN = r"[ \u00a0.()/\u2010\u2011-]{0,2}+"
_EXTENSION = r"(?:[ ]?(?:x|ext\.?)[ ]?\d{1,5})?+"
_INTERNATIONAL = re.compile(
    rf"(?:(?<![\w+])|(?<=\\[nrt]))((?:\+|%2[bB])[1-9](?:{_BETWEEN}\d){{7,}}+\)?){_EXTENSION}"
)
_CANDIDATE = re.compile(
    rf"(?<![\w+.$€£¥#])(?<!\w-)(?<!\d[,:/])([(]?\d(?:{_BETWEEN}\d){{6,}}+\)?){_EXTENSION}"
)
_NOT_BEHIND = re.compile(r"\w|[-,.:/]\d|-\w|%")
# A date or an address behind "+1", a coordinate (+48.856613), a postal code (02139-4307), a date without separators,
# seconds since 1970.
_OTHER = re.compile(
    r"\d{4}[-/.]\d\d?[-/.]\d\d?(?!\d)|[ ]\d{1,3}(?:\.\d{1,3}){3}\Z|\A(?:\+|%2[bB])\d{1,3}\.\d{1,8}\Z|\A\d{5}-\d{4}\Z"
    r"|\A(?:19|20)\d\d(?:0[1-9]|1[0-2])[0-3]\d{1,7}\Z|\A1\d{9}(?:\d{3})?(?:\.\d+)?\Z"
)
_MOST_DIGITS = 15
_MOST_CHARS = 40
# A check takes as long as reading thousands of characters. If a part has more candidates, the rest is masked unchecked.
_MOST_ASKED = 500


class Phones:
    """A masker of phone numbers in the texts of one shard, node or seed. `regions`: those of national numbers, such as
    "DE"."""

    def __init__(self, regions: tuple[str, ...] = ()) -> None:
        self._regions = regions
        self._asked = 0

    def mask(self, text: str, masked: Counter[str], *, whole: bool = False) -> str:
        """Return the text with phone numbers masked. `whole`: its key says that all of it is a phone number."""
        text = _INTERNATIONAL.sub(partial(self._replace, masked, False), text)
        if whole or self._regions:
            text = _CANDIDATE.sub(partial(self._replace, masked, not whole), text)
        return text

    def _replace(self, masked: Counter[str], ask: bool, match: re.Match[str]) -> str:
        found = match[1]
        digits = sum(map(str.isdecimal, found.removeprefix("%2")))
        fits = digits <= _MOST_DIGITS and len(found) <= _MOST_CHARS and not _OTHER.search(found)
        if not fits or _NOT_BEHIND.match(match.string, match.end()):
            return match[0]
        if ask and not self._is_national(found):
            return match[0]
        masked["phone"] += 1
        return "[phone])" if found[-1] == ")" and "(" not in found else "[phone]"

    def _is_national(self, number: str) -> bool:
        """Return whether this is a number of the regions that are set, in their usual grouping."""
        self._asked += 1
        if self._asked > _MOST_ASKED:
            return True
        import phonenumbers

        leniency = phonenumbers.Leniency.STRICT_GROUPING
        found = (phonenumbers.PhoneNumberMatcher(number, region, leniency) for region in self._regions)
        return any(matcher.has_next() for matcher in found)


def wrong_regions(regions: tuple[str, ...]) -> str:
    """Return what is wrong with the regions that are set, or an empty string."""
    try:
        import phonenumbers
    except ImportError:
        return "needs the library phonenumbers: pip install dreamd[phones]"
    unknown = [region for region in regions if region not in phonenumbers.SUPPORTED_REGIONS]
    said = f"names no region that is known: {', '.join(unknown)}; expected codes such as DE, US"
    return said if unknown else ""
