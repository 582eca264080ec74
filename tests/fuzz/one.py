"""Fuzz one target under libFuzzer: `python -m tests.fuzz.one TARGET FOLDER [OPTION..]`. `run.py` starts it."""

import random
import sys

import atheris


def main(arguments: list[str]) -> None:
    """Run until libFuzzer has done as its options say. It ends the process."""
    with atheris.instrument_imports(include=["dreamd", "dreamclient"]):
        from tests.fuzz.targets import PACKED, TARGETS
    from tests.fuzz.mutations import mutate_stream

    target, *options = arguments
    before = PACKED.get(target)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if before is None or chance.random() < 0.3:
            return bytes(atheris.Mutate(data, most))
        return data[:before] + mutate_stream(data[before:], chance)[: max(0, most - before)]

    atheris.Setup([sys.argv[0], *options], TARGETS[target], custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
