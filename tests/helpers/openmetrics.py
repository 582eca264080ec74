"""Use to check `stats --openmetrics`: a strict reader of OpenMetrics 1.0.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

import re
from dataclasses import dataclass, field
from math import isnan

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_ESCAPED = r'(?:[^\n"\\]|\\[n"\\])*'
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?Inf|NaN"
_META = re.compile(rf"# (TYPE|UNIT|HELP) ({_NAME}) ({_ESCAPED})")
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? ({_NUMBER})")
_LABEL = re.compile(rf'([a-zA-Z_][a-zA-Z0-9_]*)="({_ESCAPED})"(?:,(?!$)|$)')
_SUFFIXES = {"counter": ("_total", "_created"), "gauge": ("",), "summary": ("", "_count", "_sum", "_created")}

Labels = tuple[tuple[str, str], ...]


@dataclass
class Family:
    """`samples` by suffix and labels, these sorted by name."""

    kind: str = ""
    unit: str = ""
    help: str = ""
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def parse(text: str) -> dict[str, Family]:
    """Return the families by name. Fail if the text is not valid for a scraper."""
    assert text.endswith("# EOF\n")
    families: dict[str, Family] = {}
    seen: list[str] = []  # of the current family: which of its metadata
    name = ""
    for line in text.removesuffix("# EOF\n").splitlines():
        if meta := _META.fullmatch(line):
            what, named, content = meta.groups()
            if named != name:
                assert named not in families, f"{named} comes twice"
                name, seen = named, []
                families[name] = Family()
            assert not families[name].samples, f"metadata behind samples: {line}"
            seen.append(what)
            assert seen == sorted(set(seen), key=["TYPE", "UNIT", "HELP"].index), f"out of order: {line}"
            setattr(families[name], "kind" if what == "TYPE" else what.lower(), content)
        else:
            _add(families[name], name, line)
    for name, family in families.items():
        _check(name, family)
    samples = [name + suffix for name, family in families.items() for suffix in _SUFFIXES[family.kind]]
    assert len(samples) == len(set(samples)), "two families have a name in common"
    return families


def _add(family: Family, name: str, line: str) -> None:
    found = _SAMPLE.fullmatch(line)
    assert found, f"no sample: {line!r}"
    full, inner, number = found.groups()
    assert full.startswith(name), f"{full} among the samples of {name}"
    pairs = _LABEL.findall(inner or "")
    assert _LABEL.sub("", inner or "") == "", f"no labels: {inner}"
    labels = tuple(sorted((key, _unescaped(value)) for key, value in pairs))
    assert len({key for key, _ in labels}) == len(labels), f"a label comes twice: {line}"
    key = full.removeprefix(name), labels
    assert key not in family.samples, f"comes twice: {line}"
    family.samples[key] = float(number)


def _check(name: str, family: Family) -> None:
    assert family.kind in _SUFFIXES, f"{name} is of no known type"
    assert not family.unit or name.endswith(f"_{family.unit}"), f"{name} does not end in its unit"
    assert not any(name.endswith(suffix) for suffixes in _SUFFIXES.values() for suffix in suffixes if suffix)
    for (suffix, labels), value in family.samples.items():
        assert suffix in _SUFFIXES[family.kind], f"{name}{suffix} is no sample of a {family.kind}"
        if suffix:
            assert value >= 0, f"{name}{suffix} is {value}"
        quantile = dict(labels).get("quantile")
        assert (quantile is not None) == (family.kind == "summary" and not suffix), (
            f"a quantile in {name}{suffix}"
        )
        if quantile is not None:
            assert 0 <= float(quantile) <= 1
            assert isnan(value) or value >= 0


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)
