"""The measurements' own modules, found as their programs find them."""

import sys
from pathlib import Path

PERF = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PERF), str(PERF / "compare")]
