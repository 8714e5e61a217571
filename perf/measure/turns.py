"""Medians with intervals that keep what they were taken of, so that a report can be looked at again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import stats


def interval(values: Sequence[float | None]) -> dict[str, Any] | None:
    """As `stats.interval`, with the value of each turn in the order in which they were measured; `None` for one without."""
    turns = [None if value is None or math.isnan(value) else value for value in values]
    found = stats.interval([value for value in turns if value is not None])
    return None if found is None else {**found, "turns": turns}
