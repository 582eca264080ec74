"""Measure what `import dreamclient` adds to the start of leo, over bare Python. Run by `make bench`."""

import statistics
import subprocess
import sys
import time

ROUNDS = 41
MOST_MS = 25.0
BARE = "pass"
IMPORTS = ("import dreamclient", "import dreamclient.dropin", "from dreamclient import DreamClient")
HEAVY = ("asyncio", "msgpack", "msgpack.fallback", "dreamd", "numpy")  # loaded by whom?


def once_ms(code: str) -> float:
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - before) * 1000


def loaded(code: str) -> str:
    found = f"{code}; import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    return subprocess.check_output([sys.executable, "-c", found], text=True).strip() or "none of these"


def main() -> int:
    taken = [[once_ms(code) for code in (BARE, *IMPORTS)] for _ in range(ROUNDS)]
    bare, *others = (statistics.median(column) for column in zip(*taken, strict=True))
    print(f"bare Python {bare:.1f} ms; over that, at most {MOST_MS:g} ms:")
    for code, took in zip(IMPORTS, others, strict=True):
        print(f"  {code:<36}{took - bare:6.1f} ms, with {loaded(code)}")
    return int(others[0] - bare > MOST_MS)


if __name__ == "__main__":
    sys.exit(main())
