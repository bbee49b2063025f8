"""Settings that all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# No window system is needed to draw, and no test may depend on how fast the machine is or on yesterday's examples.
os.environ.setdefault("MPLBACKEND", "Agg")
settings.register_profile("simhcc", deadline=None, derandomize=True, database=None)
settings.load_profile("simhcc")
