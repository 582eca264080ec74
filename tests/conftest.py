"""Two ways to run the properties: in `make test` always the same examples, in `make fuzz` ever new ones."""

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile("suite", derandomize=True, deadline=None, print_blob=True)
settings.register_profile(
    "hunt", max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# A shell that starts the suite in the background leaves Ctrl-C ignored, and every child would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
