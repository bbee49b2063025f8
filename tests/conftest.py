"""Settings that all tests share."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# No window system is needed to draw, and no test may depend on how fast the machine is or on yesterday's examples.
os.environ.setdefault("MPLBACKEND", "Agg")
settings.register_profile("simhcc", deadline=None, derandomize=True, database=None)
settings.load_profile("simhcc")

# A shell that starts a job in the background lets it ignore Ctrl-C, and Python then never raises KeyboardInterrupt.
# Tests of what an interrupt leaves behind mean the same wherever they are started from.
signal.signal(signal.SIGINT, signal.default_int_handler)
