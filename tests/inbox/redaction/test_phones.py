"""Phone numbers: international ones with a plus, and those of the regions that are set."""

import sys
from collections import Counter

import pytest

from dreamd.errors import SettingsError
from dreamd.inbox.redaction.redact import redact_parts
from dreamd.settings import load_settings

REGIONS = ("US", "GB", "DE", "FR", "JP", "BR", "AU", "RU")


def masked(text: str, *regions: str, key: str = "note") -> str:
    kinds: Counter[str] = Counter()
    (part,) = redact_parts([{key: text}], kinds, regions=regions)
    assert (part[key] != text) == (kinds.total() > 0)
    return str(part[key])


NATIONAL = [
    ("call (415) 555-2671 now", "call [phone] now"),
    ("at 415.555.2671 or", "at [phone] or"),
    ("1-800-555-0199", "[phone]"),
    ("London 020 7946 0958", "London [phone]"),
    ("Berlin 030 901820", "Berlin [phone]"),
    ("030/1234567", "[phone]"),
    ("Paris 01 23 45 67 89", "Paris [phone]"),
    ("06.12.34.56.78 ok", "[phone] ok"),
    ("Tokyo 03-1234-5678", "Tokyo [phone]"),
    ("(11) 91234-5678", "[phone]"),
    ("8 (495) 123-45-67", "[phone]"),
    ("0049 30 901820", "[phone]"),
    ("ask 415-555-2671 x123 please", "ask [phone] please"),
    ("415-555-2671, 415-555-2672", "[phone], [phone]"),
]


@pytest.mark.parametrize(("text", "becomes"), NATIONAL)
def test_a_national_number_is_one_in_the_regions_that_are_set(text: str, becomes: str) -> None:
    pytest.importorskip("phonenumbers")
    assert masked(text) == text
    assert masked(text, "SE") in (text, becomes)  # 0049 and 00 are dialled from there, too
    assert masked(text, *REGIONS) == becomes


# Dates, times, hardware addresses, codes, coordinates, lists of numbers: whatever the regions.
NO_PHONES = [
    "from 01.02.24-05.03.24",
    "05/11/24 06/11/24",
    "2025-11-22 10:30",
    "time 08.30-09.45-10.00",
    "trains 0930 1145 1300",
    "MAC 00-11-22-33-44-55",
    "MA 02139-4307",
    "UPC 012345 678905",
    "ISBN 978-3-16-148410-0",
    "ISSN 2049-3630",
    "ORCID 0000-0002-1825-0097",
    "SSN-like 123-45-6789",
    "DE89 3704 0044 0532 0130 00",
    "4111 1111 1111 1111",
    "192.168.100.200",
    "SOA 2025112201",
    "epoch 1732234567.123",
    "48.8566, 2.3522",
    "lat +48.856613, lon +002.352222",
    "+48.8566+002.3522/",
    "1.234.567.890",
    "10 20 30 40 50",
    "score +1 2025-11-22 10:30",
    "route +1 192.168.100.200",
    "x+12345678",
]


@pytest.mark.parametrize("text", NO_PHONES)
def test_keeps_what_is_no_phone_number(text: str) -> None:
    assert masked(text) == text
    pytest.importorskip("phonenumbers")
    assert masked(text, *REGIONS) == text


@pytest.mark.parametrize(
    "text", ["a\\n+1 415 555 2671", "whatsapp://send?phone=%2B14155552671", '{\\"a\\": \\"+14155552671\\"}']
)
def test_an_international_number_is_found_behind_an_escape(text: str) -> None:
    assert "[phone]" in masked(text)
    assert "5552671" not in masked(text)


def test_masks_the_value_of_a_phone_key() -> None:
    assert masked("415-555-2671", key="mobile_number") == "[phone]"
    assert masked("415-555-2671", key="order_id") == "415-555-2671"


def test_masks_all_of_very_many_candidates() -> None:
    pytest.importorskip("phonenumbers")
    text = masked(" ; ".join(["415-555-2671"] * 600), "US")
    assert "415" not in text


def test_the_setting_names_regions() -> None:
    pytest.importorskip("phonenumbers")
    assert load_settings(env={}, assignments=["inbox.phone_regions=de, US"]).inbox.regions == ("DE", "US")
    with pytest.raises(
        SettingsError, match=r"--set inbox.phone_regions: .*names no region that is known: XX"
    ):
        load_settings(env={}, assignments=["inbox.phone_regions=XX"])


def test_the_setting_needs_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    assert load_settings(env={}).inbox.regions == ()
    with pytest.raises(SettingsError, match=r"needs the library phonenumbers: pip install dreamd\[phones\]"):
        load_settings(env={}, assignments=["inbox.phone_regions=DE"])
